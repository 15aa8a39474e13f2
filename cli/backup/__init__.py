"""`mainstay backup`: what is saved, where, and whether it can be trusted. One module a group of commands."""

# They add their commands.
from cli.backup import checking, copying, keeping, looking, removing, repairing, restoring, saving  # noqa: F401
from cli.backup.app import app

__all__ = ["app"]
