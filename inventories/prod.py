"""The hosts of prod.toml."""

from inventories.inventory import groups

globals().update(groups(__file__))
