"""Where a site publishes: its release servers, and the repositories of its metadata and checksums."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from backup.reach import Reach, state
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.common import nginx
from roles.common.publishing import fronts
from roles.common.publishing.servers import Place, left, place
from roles.release.settings import Settings
from roles.release.tools.outside import look
from roles.release.tools.publish import Site
from roles.release.tools.repository import Repository
from roles.release.tools.retention import Kept

ROLE = OWNER = "release"
CACHE, STAGING = "repositories", "packages"


def settings(site: LoadedSite) -> Mapping[str, Settings]:
    """Of each release server. Raises InputError when there is none."""
    found = {}
    for name in site.fleet.with_role(ROLE):
        one = site.settings(name)[ROLE]
        assert isinstance(one, Settings)
        found[name] = one
    if not found:
        raise InputError(site.path, "hosts", f"no host with the role {ROLE}", "declare one")
    return found


def servers(way: Reach, without: Sequence[str] = ()) -> tuple[Place, ...]:
    """All release servers but those. Raises InputError when one of them is none, or none is left."""
    known = settings(way.site)
    names = left(ROLE, known, without)
    return tuple(place(way, name, nginx.content_volume(way.site, name, known[name]).mount, OWNER) for name in names)


def repositories(site: LoadedSite) -> tuple[Repository, Repository | None]:
    """Of metadata, and of checksums where publishing records them. Raises InputError when servers disagree."""
    urls = {(one.metadata, one.checksums_push) for one in settings(site).values()}
    if len(urls) > 1:
        hint = "put metadata and checksums_push into [settings.release] alone"
        raise InputError(site.path, "settings.release", "release servers name different repositories", hint)
    [(metadata, checksums)] = urls
    if not metadata:
        hint = "name the git repository of what phones are offered"
        raise InputError(site.path, "settings.release.metadata", "is not set", hint)
    cache = state(site).with_name(f"{site.name}.{CACHE}")
    return (
        Repository(metadata, cache / "metadata.git"),
        Repository(checksums, cache / "checksums.git") if checksums else None,
    )


def kept(site: LoadedSite) -> Kept:
    """Which packages stay: by the most that a server's settings say. Raises InputError."""
    rules = settings(site).values()
    return Kept(max(one.keep_builds for one in rules), max(one.keep_days for one in rules))


def staging(site: LoadedSite) -> Path:
    """Where packages lie here on their way from one server to another."""
    return state(site).with_name(f"{site.name}.{STAGING}")


def opened(way: Reach, without: Sequence[str] = ()) -> Site:
    """Where this site publishes. Raises InputError."""
    metadata, checksums = repositories(way.site)
    retired = tuple(sorted({device for one in settings(way.site).values() for device in one.retired}))
    return Site(
        servers(way, without),
        metadata,
        checksums,
        lambda one, what: fronts.look(way.site, one.name, lambda client: look(client, what)),
        retired,
    )
