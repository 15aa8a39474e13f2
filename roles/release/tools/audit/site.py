"""An inventory's release servers and repositories, as an audit takes them."""

import ssl
from collections.abc import Sequence
from typing import Literal

from backup.mirror import declared as mirrors
from backup.reach import Reach
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.common import nginx
from roles.release.settings import Settings
from roles.release.tools.audit import client, reading
from roles.release.tools.audit.audit import Target
from roles.release.tools.audit.truth import Truth, recorded
from roles.release.tools.repository import Repository
from roles.release.tools.servers import place

ROLE = OWNER = "release"
RECORD = "read.json"
"""In the folder of audits: what was read of each server."""
Scheme = Literal["https", "http"]
PORTS: dict[Scheme, int] = {"https": 443, "http": 80}


def targets(way: Reach, names: Sequence[str], scheme: Scheme) -> list[Target]:
    """Release servers by these names, or all. Raises InputError for one that is none, or not provisioned."""
    site = way.site
    known = [name for name, host in site.fleet.hosts.items() if host.role == ROLE]
    if unknown := sorted({*names} - {*known}):
        hint = f"of these there are: {', '.join(known) or 'none'}"
        raise InputError(site.path, "--server", f"no release server {unknown[0]!r}", hint)
    if not known:
        raise InputError(site.path, "hosts", "no release server", 'declare a host with `role = "release"`')
    return [_target(way, name, scheme) for name in known if not names or name in names]


def _target(way: Reach, name: str, scheme: Scheme) -> Target:
    site = way.site
    locked = site.lock.hosts.get(name)
    if not locked or not locked.ipv4:
        raise InputError(site.lock_path, f"hosts.{name}", "has no address", "provision it first")
    host, settings = site.fleet.hosts[name], _settings(site, name)
    called = host.dns[0] if host.dns else f"{name}.{site.fleet.site.domain}"
    tls: ssl.SSLContext | None = client.trusted(site.files) if scheme == "https" else None
    mount = nginx.content_volume(site, name, settings).mount
    asked = client.Server(name, locked.ipv4, PORTS[scheme], called, tls)
    return Target(asked, place(way, name, mount, OWNER))


def truth(site: LoadedSite, server: str, metadata: str = "", checksums: str = "") -> Truth:
    """What the repositories say at this moment. server: whose settings say what is retired, and, where these are not
    given, which repositories there are; there may be no list of checksums.

    Raises InputError and RepositoryError.
    """
    settings, kept = _settings(site, server), reading.folder(site)
    metadata = metadata or settings.metadata
    if not metadata:
        hint = "set the repository of what phones are offered, or give --metadata"
        raise InputError(site.path, "settings.release.metadata", "is not set", hint)
    checksums = checksums or settings.checksums_push or mirrors(site).get(settings.checksums, "")
    repository = Repository(metadata, kept / "metadata.git")
    commit = repository.fetch()
    listed: dict[str, bytes] = {}
    if checksums:
        list_ = Repository(checksums, kept / "checksums.git")
        listed = recorded(list_.files(list_.fetch()))
    retired = frozenset(settings.retired)
    return Truth(commit, repository.files(commit), listed, retired, settings.metadata_seconds)


def _settings(site: LoadedSite, name: str) -> Settings:
    settings = site.settings(name)[ROLE]
    assert isinstance(settings, Settings)
    return settings
