"""Restore drills: a backup counts once it has been restored on a host of its own and the service on it has worked."""
