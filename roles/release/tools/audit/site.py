"""An inventory's release servers and repositories, as an audit takes them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from time import time

from backup.agent.answering import LOOK
from backup.mirror import declared as mirrors
from backup.reach import Reach
from inventories import trusted
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.common.nginx import certificate
from roles.common.publishing import fronts
from roles.common.publishing.servers import Place
from roles.release.tools.audit import client, reading
from roles.release.tools.audit.audit import Target, audit
from roles.release.tools.audit.findings import Finding
from roles.release.tools.audit.hindrances import hindrances
from roles.release.tools.audit.truth import Truth, recorded
from roles.release.tools.places import kept, repositories, servers, settings
from roles.release.tools.publication import Publication
from roles.release.tools.repository import Repository
from roles.release.tools.retention import ended


def targets(way: Reach, names: Sequence[str]) -> list[Target]:
    """Release servers by these names, or all. Raises InputError for one that is none."""
    known = [*settings(way.site)]
    if unknown := sorted({*names} - {*known}):
        hint = f"of these there are: {', '.join(known)}"
        raise InputError("--server", "", f"no release server {unknown[0]!r}", hint)
    found = []
    for place in servers(way, [one for one in known if names and one not in names]):
        first, *others = _servers(way.site, place.name)
        reached = [one for one in others if fronts.has_way(one.address)]
        unasked = [one.address for one in others if one not in reached]
        seen = Target(first, place, tuple(reached), tuple(unasked))
        found.append(_by_its_key(way, seen) if way.site.control else seen)
    return found


def _by_its_key(way: Reach, one: Target) -> Target:
    """As the control host may look: by the one question that its key may ask a release server."""
    words = way.admin(one.name, shlex.join(LOOK))
    return replace(one, place=Place(one.name, "", lambda *_: words), program=None)


def mirrored(site: LoadedSite) -> str:
    """Where the control host gets the metadata; empty where it does not."""
    known = {mirrors(site).get(one.metadata_mirror, "") for one in settings(site).values()}
    return known.pop() if len(known) == 1 else ""


def _servers(site: LoadedSite, host: str) -> list[client.Server]:
    name, trusting = certificate.names(site, host)[0], trusted.context(site.files)
    return [client.Server(host, one, fronts.PORT, name, trusting) for one in fronts.addresses(site, host)]


def truth(site: LoadedSite) -> Truth:
    """What the repositories say now; there may be no list of checksums. Raises InputError, RepositoryError."""
    own = settings(site).values()
    metadata, _ = repositories(site)
    if site.control:
        metadata = replace(metadata, url=mirrored(site))
    commit = metadata.fetch()
    return Truth(
        commit,
        metadata.files(commit),
        _recorded(site),
        frozenset(device for one in own for device in one.retired),
        max(one.metadata_seconds for one in own),
        kept(site),
        ended(metadata, commit),
        time(),
    )


def sums(site: LoadedSite) -> Mapping[str, str]:
    """What the list of checksums says: hash by a package's file name. Raises as `truth`."""
    return Truth("", {}, _recorded(site)).sums


def _recorded(site: LoadedSite) -> dict[str, bytes]:
    metadata, checksums = repositories(site)
    if site.control:  # which has no keys to push by
        checksums = None
    if not checksums and (mirror := mirrors(site).get(next(iter(settings(site).values())).checksums)):
        checksums = Repository(mirror, metadata.folder.with_name("checksums.git"))
    return recorded(checksums.files(checksums.fetch())) if checksums else {}


def hindered(way: Reach, names: Sequence[str], what: Publication, now: datetime) -> list[Finding]:
    """What a quick audit of these servers finds that keeps it from being offered. Raises as `targets` and `truth`."""
    coming = {(one.device, one.channel): one.offer for one in what.offers}
    promised, record = replace(truth(way.site), coming=coming), reading.load(reading.place(way.site))
    return hindrances(audit(promised, targets(way, names), record, now), what)
