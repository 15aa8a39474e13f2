"""What the last audit of sources found, as the control host's timer left it, as findings of data sets."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from backup import custody
from backup.audited import Timed, listed
from backup.data_set import Finding, Kind, Subject
from backup.sizes import counted
from inventories.inventory import LoadedSite

FILE = "sources.json"
"""As `mainstay gerrit audit --status DIR` writes it."""
NIGHTLY = Timed("sources", FILE, timedelta(hours=36), Kind.SOURCES, "sources")
"""An audit may take some hours, of which reading is most."""
TO_DO = "`mainstay gerrit audit` says which projects, and what to do: roles/gerrit/README.md, Source audit."


def findings(site: LoadedSite, now: datetime) -> Iterator[Finding]:
    """One for each manifest and each host that is not as it should be, and one of this host's when the audit itself is
    not."""
    names = declared(site)
    if names:
        yield from NIGHTLY.findings(site, now, lambda told: [*_hosts(site, told, names), *_unread(site, told, names)])


def declared(site: LoadedSite) -> frozenset[str]:
    """The names of the manifests that are audited."""
    settings: Any = site.settings(custody.control_host(site))["control"]
    return frozenset(one.name for one in settings.sources)


def _hosts(site: LoadedSite, told: dict[str, Any], names: frozenset[str]) -> Iterator[Finding]:
    """By where it was found: what is on no host of this site is this host's."""
    by_place: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in told["findings"]:
        if one["fails"] and one["manifest"] in names:
            by_place.setdefault((one["manifest"], urlsplit(one["url"]).hostname or ""), []).append(one)
    for (manifest, host), found in by_place.items():
        lines = [" ".join(filter(None, (one["kind"], one["project"], one["file"]))) for one in found]
        hit = {device for one in found for device in one["devices"]}
        hits = "every device" if any(not one["devices"] for one in found) else listed(sorted(hit))
        what = f"{counted(len(found), 'finding')} on {host}, of {manifest}: {listed(lines)}; hits {hits}"
        yield Finding(Kind.SOURCES, *_whose(site, host), what, TO_DO, Subject(f"{manifest} {host}", tuple(lines)))


def _unread(site: LoadedSite, told: dict[str, Any], names: frozenset[str]) -> Iterator[Finding]:
    for one in told["manifests"]:
        if one["read_overdue"] and one["manifest"] in names:
            since = one["read_oldest"][:10]
            what = f"of {one['manifest']} something was not read since {since}, though all is to be within 30 days"
            to_do = "`mainstay gerrit audit --deep` says what it cannot read: has this host room for it?"
            yield Finding(Kind.SOURCES_UNREAD, *_own(site), what, to_do, Subject(one["manifest"]))


def _whose(site: LoadedSite, name: str) -> tuple[str, str]:
    """The data set of the host that has this name."""
    known = {str(one) for one in custody.data_sets(site.fleet)}
    places = [(host, one.role) for host, one in site.fleet.hosts.items() if name in one.dns]
    return next((place for place in places if ":".join(place) in known), _own(site))


def _own(site: LoadedSite) -> tuple[str, str]:
    return custody.control_host(site), custody.CONTROL_ROLE
