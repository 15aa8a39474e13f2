"""The HSMs' state as code: what hsm.toml declares, what the devices hold, and what is between them."""
