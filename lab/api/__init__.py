"""The provider's API (Vultr v2), its metadata service and its name servers, for hosts on this machine.

Each resource family is one module with a table `ROUTES`; `server` puts them together. Whatever a call changes is in the
`store` before the engine is asked for it, so that a crash loses nothing: `jobs` carries on where it stopped.
"""
