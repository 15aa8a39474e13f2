"""The hosts of staging.toml."""

from inventories.inventory import groups

globals().update(groups(__file__))
