"""`mainstay web`: the website, from the folder it was built in to all its servers. One module a command."""

# They add their commands.
from cli.web import looking, publishing, returning  # noqa: F401
from cli.web.app import app

__all__ = ["app"]
