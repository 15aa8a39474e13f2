"""`mainstay hsm`: state and logs of the signing host's HSMs. One module a command."""

from cli.hsm.app import app

__all__ = ["app"]
