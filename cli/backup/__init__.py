"""`mainstay backup`: what is saved, where, and whether it can be trusted. One module a group of commands."""

from cli.backup.app import app

__all__ = ["app"]
