"""Old packages go from all servers, by what the metadata's history says of them."""

from dataclasses import dataclass
from datetime import datetime

from roles.common.publishing.servers import session
from roles.release.tools.offers import Offered, lines
from roles.release.tools.publish import METADATA, PROGRAM, Site, judge_clock
from roles.release.tools.retention import Kept, ended, superseded


@dataclass(frozen=True)
class Old:
    """What may go from a server: size in bytes by path."""

    server: str
    sizes: dict[str, int]


@dataclass(frozen=True)
class Plan:
    """commit: that all of it is judged by; needed: what that promises."""

    commit: str
    needed: tuple[str, ...]
    servers: tuple[Old, ...]


def plan(site: Site, kept: Kept, now: datetime) -> Plan:
    """Raises ServerError, RepositoryError, and PublishError where this machine's clock is not a server's."""
    commit = site.metadata.fetch()
    offers, over = lines(site.metadata.files(commit, METADATA)), ended(site.metadata, commit)
    servers = []
    for place in site.places:
        with session(place, PROGRAM) as to:
            judge_clock(now, to.ask("status")["time"], place.name)
            sizes: dict[str, int] = to.ask("packages")["sizes"]
        old = superseded(sizes, offers, over, now.timestamp(), kept)
        servers.append(Old(place.name, {path: sizes[path] for path in old}))
    return Plan(commit, tuple(Offered(*key, offer).promises for key, offer in offers.items()), tuple(servers))


def prune(site: Site, what: Plan) -> None:
    """Removes it, on every server that serves the commit that it was judged by. Raises ServerError."""
    for place, old in zip(site.places, what.servers, strict=True):
        with session(place, PROGRAM) as to:
            to.ask("lock")
            to.ask("prune", paths=[*old.sizes], needed=what.needed, commit=what.commit)
