"""The hosts of signing.toml."""

from inventories.inventory import groups

globals().update(groups(__file__))
