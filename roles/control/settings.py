"""What can be set for the control host, in `[settings.control]` or a host's own `settings.control`."""

from typing import Annotated

from pydantic import Field

from inventories.errors import InputError
from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from inventories.typed import Name, Typed
from roles.common import Listen, Opening
from roles.gerrit.tools.sources.source import Sources

OPENINGS: tuple[Opening, ...] = ()
"""It asks others, and nobody asks it."""
LISTENS: tuple[Listen, ...] = ()
GitUrl = Annotated[str, Field(pattern=r"^(https?|ssh|git)://[^\s@:/]+(@[^\s@:/]+)?(:\d{1,5})?/[!-~]+$")]
"""Without a password: it would stand in the inventory."""


class Settings(Typed):
    """The control host."""

    volume: Name = "state"
    """The host's volume that all it collects lies on."""
    mirrors: dict[Name, GitUrl] = {}
    """git repositories to keep a copy of, by the name of the copy."""
    sources: Sources = ()
    """Manifests whose sources are audited nightly, and by `mainstay gerrit audit`; none: no audit."""
    zones: bool = True
    """Whether the DNS zones of the site's domain are kept, as each deploy reads them."""


def state_volume(site: LoadedSite, name: str, settings: Settings) -> Volume:
    """The volume the settings name. Raises InputError when the host does not declare it."""
    volume = site.fleet.hosts[name].volumes.get(settings.volume)
    if volume is None:
        hint = f'declare volumes.{settings.volume} = {{ size_gb = ..., mount = "/srv/control" }}'
        problem = f"no volume {settings.volume!r} for what is collected"
        raise InputError(site.path, f"hosts.{name}.volumes", problem, hint)
    return volume
