"""`mainstay release`: releases, from the build host to phones. One module a command."""

from cli.release.app import app

__all__ = ["app"]
