"""`mainstay drill`: whether what is saved can be restored. One module a group of commands."""

# They add their commands.
from cli.drill import looking, reporting  # noqa: F401
from cli.drill.app import app

__all__ = ["app"]
