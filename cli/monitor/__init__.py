"""`mainstay monitor`: what watches the site. One module a command."""

from cli.monitor.app import app

__all__ = ["app"]
