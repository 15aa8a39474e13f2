"""What can be set for Gerrit, in `[settings.gerrit]` or a host's own `settings.gerrit`."""

from typing import Annotated

from pydantic import Field

from inventories.fleet import Typed
from roles.common import Listen, Opening, nginx

SSH_PORT = 29418
HTTP_PORT = 8081
"""On loopback alone."""
OPENINGS = (*nginx.OPENINGS, Opening(protocol="tcp", port=SSH_PORT))
LISTENS = (*nginx.LISTENS, Listen(protocol="tcp", port=SSH_PORT))
Version = Annotated[str, Field(pattern=r"^[1-9]\d*\.\d+\.\d+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class War(Typed):
    """Gerrit itself."""

    version: Version
    sha256: Sha256
    source: str = Field(pattern=r"^(https://\S+|/\S+)$")
    """Where it is had: an https address, which the host fetches, or a file of the machine that deploys."""


class Settings(nginx.HttpSettings):
    """The code review."""

    volume: str = "site"
    """The host's volume that holds Gerrit's site, and nothing else: btrfs, so that a backup is of one instant."""
    war: War
    server_id: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    """Gerrit's `gerrit.serverId`, a UUID (`uuidgen`). Part of the data: changes name it, so it never changes again."""
    email: str = Field(pattern=r"^\S+@\S+$")
    """Of Gerrit itself: the committer of what it writes."""
    heap_percent: int = Field(default=50, ge=10, le=80)
    """Of the host's memory, for Java's heap."""
