"""`mainstay release`: releases, from the build host to phones. One module a command."""

# They add their commands.
from cli.release import auditing, changing, checking, pruning, publishing, requests, standing  # noqa: F401
from cli.release.app import app

__all__ = ["app"]
