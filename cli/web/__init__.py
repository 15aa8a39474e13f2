"""`mainstay web`: the website, from the folder it was built in to all its servers. One module a command."""

from cli.web.app import app

__all__ = ["app"]
