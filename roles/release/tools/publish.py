"""Publishing as a transaction over all release servers.

    upload beside the tree -> read and verify there -> move in place -> push checksums -> push ONE commit of metadata
    -> every server switches to it -> looked at from outside -> closed

That commit is the publication. Before it, phones are offered nothing new, and all can be taken back; after it, what is
left can only be finished. Each step leaves what it found done alone, so a run that was killed is run again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roles.common.publishing.hearing import Hearing
from roles.common.publishing.servers import Place, Program, Session, on_all, session
from roles.release.archive import BASE
from roles.release.tools import on_server, volume
from roles.release.tools.offers import Offered, Published, lines
from roles.release.tools.publication import Publication
from roles.release.tools.repository import Repository
from roles.release.tools.volume import digest

METADATA = "ota/"
"""Where it lies in its repository."""
CLOCK_S = 300
"""How far this machine's clock may be from a server's: commits and manifests bear its time."""
PROGRAM = Program(volume, on_server)


class PublishError(Exception):
    """Why a publication stopped, and what to do."""


Look = Callable[[Place, Publication], list[str]]
"""What is not as phones should find it, from outside."""


@dataclass(frozen=True)
class Site:
    """Where a release is published. A server that is left out catches up when it is published again. retired: devices
    whose packages no server needs to have."""

    places: tuple[Place, ...]
    metadata: Repository
    checksums: Repository | None
    look: Look
    retired: tuple[str, ...] = ()


@dataclass
class Run:
    """A publication under way."""

    site: Site
    what: Publication
    folder: Path
    hear: Hearing
    who: str
    now: datetime
    judge: Callable[[], None] = lambda: None
    """Asked under the lock, before anything is begun; raises why it is not to be."""
    sessions: list[Session] = field(default_factory=list)

    def on_all(self, do: Callable[[Session], Any]) -> list[Any]:
        return on_all(self.sessions, do)


def publish(run: Run) -> str:
    """Publishes, or finishes what was begun of the same; returns the commit.

    Raises ServerError, RepositoryError and PublishError; what is told then is that it can be run again.
    """
    with ExitStack() as stack:
        run.hear.step("connect")
        run.sessions = [stack.enter_context(session(one, PROGRAM)) for one in run.site.places]
        for one, told in zip(run.sessions, run.on_all(lambda one: one.ask("lock")), strict=True):
            judge_clock(run.now, told["time"], one.place.name)
        base = run.site.metadata.fetch()
        before = lines(run.site.metadata.files(base, METADATA))
        judge_lines(run.what, before)
        run.judge()
        changes = {path: text.encode() for path, text in run.what.metadata.items()}
        commit = run.site.metadata.commit(base, changes, run.what.message(before))
        files = run.site.metadata.files(commit, METADATA)
        own = {one.path for one in run.what.packages}
        run.on_all(lambda one: must_hold(one, run.site, files, own))
        _upload(run, base)
        _verify(run, base)
        run.hear.step("move in place")
        run.on_all(lambda one: one.ask("place"))
        run.hear.step("push checksums")
        if run.site.checksums:
            _push_sums(run.site.checksums, run.what)
        run.hear.step("push metadata")
        run.site.metadata.push(commit)
        run.hear.step("switch")
        run.on_all(lambda one: switch(one, run.site, commit, files))
        run.hear.step("fetch as phones do")
        wrong = [f"{one.name}: {told}" for one in run.site.places for told in run.site.look(one, run.what)]
        if wrong:
            raise PublishError("published, and not as phones should find it: " + "; ".join(wrong))
        run.on_all(lambda one: one.ask("close", done={"commit": commit}))
    return commit


def judge_clock(now: datetime, there: float, name: str) -> None:
    """Raises PublishError."""
    if abs(now.timestamp() - there) > CLOCK_S:
        other = datetime.fromtimestamp(there, UTC)
        told = f"it is {other:%Y-%m-%d %H:%M} there and {now:%Y-%m-%d %H:%M} here (UTC)"
        raise PublishError(f"{name}: {told}: nothing is done; set the clock that is wrong")


def judge_lines(what: Publication, before: Published) -> None:
    """No phone is offered less than it was, unless that is meant. Raises PublishError."""
    for one in what.offers:
        was = before.get((one.device, one.channel))
        if was and was.timestamp > one.offer.timestamp and not what.sets_back:
            raise PublishError(
                f"{one.path} offers {was.build} by now, which is later than {one.offer.build}: nothing is published"
            )


def _upload(run: Run, base: str) -> None:
    manifest = run.what.manifest(run.who, f"{run.now:%Y-%m-%d %H:%M} UTC", base)
    run.on_all(lambda one: one.ask("plan", manifest=manifest))  # one that refuses leaves nothing begun on others
    found = run.on_all(lambda one: one.ask("begin", manifest=manifest))
    sizes = {one.path: one.size for one in run.what.packages}
    left = {one.place.name: to_come(told, sizes) for one, told in zip(run.sessions, found, strict=True)}
    run.hear.step("upload", sum(sum(paths.values()) for paths in left.values()))

    def one_of(to: Session) -> None:
        if paths := left[to.place.name]:
            to.upload(run.folder, [*paths], f"incoming/{run.what.id}/files", run.hear.progress)

    run.on_all(one_of)


def to_come(told: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of each package that a server has not got yet, by its answer. sizes: of all packages."""
    return {
        path: sizes[path] - told["came"].get(path, 0) for path in (*told["missing"], *told["came"]) if path in sizes
    }


def _verify(run: Run, base: str) -> None:
    """A server that lost its power may have a file of the right size with other bytes, which rsync would leave alone:
    what is wrong is gone there once it was read, and is sent once more."""
    if wrong := _wrong(run):
        run.hear.note(f"sent once more: {wrong}")
        _upload(run, base)
        if wrong := _wrong(run):
            raise PublishError(f"{wrong}: nothing is published; check the release and run it again")


def _wrong(run: Run) -> str:
    run.hear.step("verify on the servers", run.what.size * len(run.sessions))
    told = run.on_all(lambda one: one.ask("verify", run.hear.progress)["wrong"])
    return "; ".join(
        f"{one.place.name}: {path}: {why}"
        for one, wrong in zip(run.sessions, told, strict=True)
        for path, why in wrong.items()
    )


def must_hold(one: Session, site: Site, files: Mapping[str, bytes], coming: Collection[str] = ()) -> None:
    """Raises PublishError when a server would not switch to these files, had it the packages that are coming."""
    now = one.ask("status")["commit"]
    if lacks := [path for path in one.ask("lacks", paths=promised(now, site, files))["lacks"] if path not in coming]:
        what = lacks[0] if len(lacks) == 1 else f"{lacks[0]} and {len(lacks) - 1} more"
        raise PublishError(f"{one.place.name}: lacks {what}: nothing is published; bring it up to date first")


def switch(one: Session, site: Site, commit: str, files: Mapping[str, bytes]) -> None:
    """Has a server serve a commit, unless a package is not there that it promises and the one it serves did not."""
    status = one.ask("status")
    if not serves(status, commit, files):
        needed = promised(status["commit"], site, files)
        one.ask("switch", commit=commit, files={path: text.decode() for path, text in files.items()}, promised=needed)


def serves(status: Mapping[str, Any], commit: str, files: Mapping[str, bytes]) -> bool:
    """Whether a server has this commit's metadata, and nobody has changed it there."""
    return bool(status["commit"] == commit and status["metadata"] == digest(files))


def promised(now: str, site: Site, files: Mapping[str, bytes]) -> list[str]:
    """Packages that these files promise, and the commit that a server serves now does not."""
    there = site.metadata.files(now, METADATA) if now and site.metadata.knows(now) else {}
    after, before = lines(files), lines(there)
    return [
        Offered(*key, offer).promises
        for key, offer in after.items()
        if before.get(key) != offer and key[0] not in site.retired and key[1] != BASE
    ]


def _push_sums(repository: Repository, what: Publication) -> None:
    """Adds what is not on record yet. What is there with another hash is never overwritten.

    Raises PublishError.
    """
    base = repository.fetch()
    known = repository.files(base)
    changes: dict[str, bytes | None] = {}
    for path, text in what.sums.items():
        if path not in known:
            changes[path] = text.encode()
        elif known[path].split()[:1] != text.encode().split()[:1]:
            raise PublishError(f"{path} is on record in {repository.url} with another hash: nothing is published")
    if changes:
        repository.push(repository.commit(base, changes, f"{what.channel}: checksums of {len(changes)} packages\n"))


def abandon(places: Sequence[Place], metadata: Repository, hear: Hearing) -> list[str]:
    """Takes back what was begun and not published, on every server that has it; returns what went.

    Raises ServerError, also when it is published already.
    """
    offered = lines(metadata.files(metadata.fetch(), METADATA))
    needed = [Offered(*key, offer).promises for key, offer in offered.items()]
    gone = []
    for one in places:
        with session(one, PROGRAM) as to:
            begun = to.ask("lock")["begun"]
            if begun:
                told = to.ask("abandon", needed=needed)
                gone.append(f"{one.name}: {told['id']}")
                hear.note(f"{one.name}: {told['id']} of {begun['who']} is taken back")
    return gone
