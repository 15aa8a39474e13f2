"""What is where: each server's commit and what was begun there, and what each device's channels offer."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from backup.sizes import counted, size
from roles.common.publishing.servers import Away, Place, ServerError, session
from roles.release.archive import CHANNELS
from roles.release.tools.offers import Published, lines
from roles.release.tools.publish import METADATA, PROGRAM, Site, serves
from roles.release.tools.repository import Repository


@dataclass(frozen=True)
class Standing:
    """A server.

    behind: commits that it lacks, None when it serves one that is not in the repository; altered: its metadata is not
    that commit's; free: bytes; begun: the manifest of what was neither finished nor abandoned; wrong: why nothing else
    is known of it.
    """

    name: str
    commit: str = ""
    behind: int | None = None
    altered: bool = False
    begun: Mapping[str, Any] | None = None
    published: Sequence[str] = ()
    free: int = 0
    wrong: str = ""

    @property
    def current(self) -> bool:
        return self.behind == 0 and not self.altered


@dataclass(frozen=True)
class Whole:
    """commit: the newest of the metadata repository; offers: what it offers."""

    commit: str
    offers: Published
    servers: tuple[Standing, ...]


def standing(places: Sequence[Place], metadata: Repository) -> Whole:
    """Asks all servers at once; one that does not answer is told. Raises RepositoryError."""
    commit = metadata.fetch()
    with ThreadPoolExecutor(len(places)) as pool:
        servers = tuple(pool.map(lambda one: _of(one, metadata, commit), places))
    return Whole(commit, lines(metadata.files(commit, METADATA)), servers)


def _of(place: Place, metadata: Repository, newest: str) -> Standing:
    try:
        with session(place, PROGRAM) as to:
            told = to.ask("status")
    except ServerError as error:
        return Standing(place.name, wrong=str(error).removeprefix(f"{place.name}: "))
    commit = told["commit"]
    behind = metadata.distance(commit, newest) if commit else None
    altered = behind is not None and not serves(told, commit, metadata.files(commit, METADATA))
    return Standing(place.name, commit, behind, altered, told["begun"], told["published"], told["free"])


def words(one: Standing) -> str:
    """A server in a line."""
    if one.wrong:
        return one.wrong
    if one.behind is None:
        told = f"serves {one.commit[:10] or 'no commit'}, which the repository does not have"
    else:
        how = f"{counted(one.behind, 'commit')} behind" if one.behind else "the newest"
        changed = ", changed by somebody there: `release sync` brings it back" if one.altered else ""
        told = f"serves {one.commit[:10]}, {how}{changed}"
    begun = f"; {one.begun['id']} was begun by {one.begun['who']}, {one.begun['begun']}" if one.begun else ""
    return f"{told}; {size(one.free)} free{begun}"


def builds(whole: Whole, device: str) -> list[tuple[str, list[str]]]:
    """The builds that a device's channels offer, the newest first, each with these channels."""
    mine = {channel: offer for channel in CHANNELS if (offer := whole.offers.get((device, channel)))}
    newest = sorted({*mine.values()}, key=lambda one: -one.timestamp)
    return [(offer.build, [name for name, one in mine.items() if one == offer]) for offer in newest]


def base(site: Site) -> str:
    """The commit that a publication goes by: the newest, or, of what was begun, the newest then: so it comes out the
    same when it is run again. Raises RepositoryError, and Away when a server does not answer."""
    found = standing(site.places, site.metadata)
    for one in found.servers:
        if one.wrong:
            raise Away(f"{one.name}: {one.wrong}; nothing is published; --without {one.name} leaves it out for now")
    return next((str(one.begun["base"]) for one in found.servers if one.begun), found.commit)
