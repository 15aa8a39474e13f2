"""What can be set for the vault, in `[settings.vault]` or a host's own `settings.vault`."""

from pydantic import Field

from backup.custody import ADMIN, APPEND, CONTROL, PORTS
from inventories.typed import Name, Typed
from roles.common import Listen, Opening

LOOPBACK = "127.0.0.1"
OPENINGS = (Opening(protocol="tcp", port=PORTS[APPEND]),)
LISTENS = (
    Listen(protocol="tcp", port=PORTS[APPEND]),
    Listen(protocol="tcp", port=PORTS[CONTROL], address=LOOPBACK),
    Listen(protocol="tcp", port=PORTS[ADMIN], address=LOOPBACK),
)


class Settings(Typed):
    """The vault."""

    volume: Name = "repositories"
    """The host's volume that holds the repositories; ext4, which keeps room for admins."""
    quota_percent: int = Field(default=90, ge=50, le=98)
    """Share of the volume that hosts and control side may fill. The rest is for admins: pruning writes before it
    removes."""
