"""The hosts of lab.toml."""

from inventories.inventory import groups

globals().update(groups(__file__))
