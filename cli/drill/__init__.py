"""`mainstay drill`: backups proved on hosts of their own. One module a group of commands."""

# They add their commands.
from cli.drill import looking, reporting, running  # noqa: F401
from cli.drill.app import app

__all__ = ["app"]
