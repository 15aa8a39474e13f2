"""`mainstay drill`: backups proved on hosts of their own. One module a group of commands."""

from cli.drill.app import app

__all__ = ["app"]
