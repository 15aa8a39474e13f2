"""`mainstay backup`: what is saved, where, and whether it can be trusted. One module a group of commands."""

# They add their commands.
from cli.backup import (  # noqa: F401
    checking,
    copying,
    keeping,
    looking,
    recording,
    removing,
    repairing,
    restoring,
    saving,
    watching,
)
from cli.backup.app import app

__all__ = ["app"]
