"""`mainstay gerrit`: the code review, and the sources that clients get. One module a command."""

from cli.gerrit.app import app

__all__ = ["app"]
