"""An inventory's release servers and repositories, as an audit takes them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backup.mirror import declared as mirrors
from backup.reach import Reach
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.release.tools.audit import client, reading
from roles.release.tools.audit.audit import Target, audit
from roles.release.tools.audit.findings import Finding
from roles.release.tools.audit.hindrances import hindrances
from roles.release.tools.audit.truth import Truth, recorded
from roles.release.tools.places import front, repositories, servers, settings
from roles.release.tools.publication import Publication
from roles.release.tools.repository import Repository

PORT = 443


def targets(way: Reach, names: Sequence[str]) -> list[Target]:
    """Release servers by these names, or all. Raises InputError for one that is none."""
    known = [*settings(way.site)]
    if unknown := sorted({*names} - {*known}):
        hint = f"of these there are: {', '.join(known)}"
        raise InputError("--server", "", f"no release server {unknown[0]!r}", hint)
    found = []
    for place in servers(way, [one for one in known if names and one not in names]):
        seen = front(way.site, place.name)
        found.append(Target(client.Server(place.name, seen.address, PORT, seen.name, seen.trusting), place))
    return found


def truth(site: LoadedSite) -> Truth:
    """What the repositories say now; there may be no list of checksums. Raises InputError, RepositoryError."""
    own = settings(site).values()
    metadata, checksums = repositories(site)
    if not checksums and (mirror := mirrors(site).get(next(iter(own)).checksums)):
        checksums = Repository(mirror, metadata.folder.with_name("checksums.git"))
    commit = metadata.fetch()
    return Truth(
        commit,
        metadata.files(commit),
        recorded(checksums.files(checksums.fetch())) if checksums else {},
        frozenset(device for one in own for device in one.retired),
        max(one.metadata_seconds for one in own),
    )


def hindered(way: Reach, names: Sequence[str], what: Publication, now: datetime) -> list[Finding]:
    """What a quick audit of these servers finds that keeps it from being offered. Raises as `targets` and `truth`."""
    coming = {(one.device, one.channel): one.offer for one in what.offers}
    promised, record = replace(truth(way.site), coming=coming), reading.load(reading.place(way.site))
    return hindrances(audit(promised, targets(way, names), record, now), what)
