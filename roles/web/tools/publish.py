"""Publishing the website as a transaction over all web servers.

    upload beside what is served -> read and verify there -> move to the releases -> every server switches
    -> looked at from outside -> closed

Nothing changes for visitors until every server holds all of it and has read it. Each step leaves what it found done
alone, so a run that was killed is run again, and ends what it began.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from roles.common.publishing.hearing import Hearing
from roles.common.publishing.servers import Away, Place, Program, ServerError, Session, on_all, session
from roles.web.archive import MESSAGE
from roles.web.tools import on_server
from roles.web.tools.change import Change, Manifest, compare
from roles.web.tools.content import Content, digest_of

PROGRAM = Program(on_server)


class PublishError(Exception):
    """Why a publication stopped, and what to do."""


class Damaged(PublishError):
    """A release that is on a server already is not what was published."""


Look = Callable[[Place, Manifest, Sequence[str]], list[str]]
"""What is not as visitors should find it, from outside: of a release, and of these paths of it above all."""


@dataclass
class Run:
    """Something that is done to all web servers together. keep: releases that stay."""

    places: Sequence[Place]
    look: Look
    keep: int
    hear: Hearing
    who: str
    dry: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    sessions: list[Session] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def connected(self, *, lock: bool) -> Iterator[None]:
        """With a session on each server. lock: nobody else publishes there meanwhile. Raises ServerError."""
        with ExitStack() as stack:
            self.hear.step("connect")
            self.sessions = [stack.enter_context(session(one, PROGRAM)) for one in self.places]
            self.statuses = on_all(self.sessions, lambda one: _reached(one, "lock" if lock else "status"))
            yield

    @property
    def served(self) -> str:
        """What was switched to last: after a run that was killed, or that left one out, servers differ."""
        return _last(self.statuses)

    def replaced(self, name: str) -> str:
        """What servers serve that is not this yet; this, when all of them do."""
        others = [one for one in self.statuses if one["served"] != name]
        return _last(others) if others else name

    @property
    def before(self) -> str:
        """What is served now, and can be gone back to on every server."""
        everywhere = set.intersection(*(self.held(status) for status in self.statuses))
        return _last([one for one in self.statuses if one["served"] in everywhere])

    def held(self, status: Mapping[str, Any]) -> set[str]:
        return {one["id"] for one in status["releases"]}

    def manifest(self, name: str) -> Manifest:
        """Of a release, or one that was begun, from any server that has it; an empty one when there is none."""
        for one, status in zip(self.sessions, self.statuses, strict=True):
            if name in self.held(status) | {begun["id"] for begun in status["begun"]}:
                found: Manifest = one.ask("manifest", id=name)["manifest"]
                return found
        return {"id": name, "files": [], "before": "", "message_alone": False}


def publish(run: Run, content: Content, *, replace_message: bool = False) -> Change:
    """Publishes a site, or finishes what was begun of the same.

    Without a message in it, that which is served stays. Raises ServerError and PublishError; what is told then is that
    it can be run again.
    """
    with run.connected(lock=not run.dry):
        now = run.manifest(run.served)
        message = next((file for file in now["files"] if file["path"] == MESSAGE), None)
        files = {path: asdict(file) for path, file in content.files.items()}
        alone = now["message_alone"] and message is not None
        if message and MESSAGE not in files:
            files[MESSAGE] = message
        elif alone and message and files[MESSAGE]["sha256"] != message["sha256"]:
            if not replace_message:
                raise PublishError(
                    f"{MESSAGE} was published alone since, and would be replaced by another: take it over into the "
                    "site, or say --replace-message"
                )
            alone = False
        return _publish(run, content, files, alone=alone)


def message(run: Run, content: Content) -> Change:
    """Publishes a message for phones alone: a release that is the one served but for that. Raises as publish does."""
    with run.connected(lock=not run.dry):
        files = {file["path"]: file for file in run.manifest(run.served)["files"]}
        if not files:
            raise PublishError("there is no website yet: publish that first")
        if any(one["back"] for one in run.statuses):
            raise PublishError("a roll back was begun and not ended, so that servers differ: run it again first")
        files[MESSAGE] = asdict(content.files[MESSAGE])
        return _publish(run, content, files, alone=True)


def _publish(run: Run, content: Content, files: Mapping[str, dict[str, Any]], *, alone: bool) -> Change:
    whole = [files[path] for path in sorted(files)]
    digest = digest_of({path: file["sha256"] for path, file in files.items()})
    new: Manifest = {
        "schema": 1,
        "id": f"{run.now:%Y%m%d-%H%M%S}-{digest[:8]}",
        "time": int(run.now.timestamp()),
        "who": run.who,
        "digest": digest,
        "before": run.before,
        "message_alone": alone,
        "files": whole,
    }
    manifest = _continued(run, digest) or new
    newest = max((one["id"] for status in run.statuses for one in status["releases"]), default="")
    if manifest["id"] < newest and manifest is new:
        raise PublishError(f"{newest} is there, and it is {new['id'][:15]} here: set this machine's clock")
    change = compare(run.manifest(run.replaced(manifest["id"])), manifest)
    if run.dry:
        for one, status in zip(run.places, run.statuses, strict=True):
            if manifest["id"] not in run.held(status) and change.size + on_server.RESERVE > status["free"]:
                raise PublishError(f"{one.name}: {change.size:,} bytes are new; {status['free']:,} are free")
        return replace(change, id="") if manifest is new else change
    try:
        _bring(run, content, manifest)
    except Damaged as error:
        run.hear.note(f"{error}: it is published anew")
        manifest = new
        change = compare(run.manifest(run.served), manifest)
        _bring(run, content, manifest)
    _switch(run, manifest, [*change.added, *change.changed])
    return change


def _continued(run: Run, digest: str) -> Manifest | None:
    """The manifest of what was begun, or is the newest there, if it is the same."""
    known = [one for status in run.statuses for one in (*status["begun"], *status["releases"])]
    newest = max((one["id"] for one in known), default="")
    same = {one["id"] for one in known if one["digest"] == digest}
    for name in (newest, run.served):
        if name in same:
            return run.manifest(name)
    return None


def _bring(run: Run, content: Content, manifest: Manifest) -> None:
    """Every server holds it, and has read it."""
    name = manifest["id"]
    begun = on_all(run.sessions, _ask("begin", manifest=manifest))
    come = {one.place.name: told["come"] for one, told in zip(run.sessions, begun, strict=True)}
    sizes = {file["path"]: file["size"] for file in manifest["files"]}
    left = sum(sizes[path] - there for told in come.values() for path, there in told.items())
    run.hear.step("upload", left)

    def upload(to: Session) -> None:
        wanted = come[to.place.name]
        if lacking := sorted(wanted.keys() - content.files.keys()):
            hint = "publish a folder that has it"
            raise PublishError(f"{to.place.name}: lacks {lacking[0]}, which is not here either: {hint}")
        for folder, paths in content.folders.items():
            if here := sorted(wanted.keys() & set(paths)):
                to.upload(folder, here, f"incoming/{name}/public", run.hear.progress)

    on_all(run.sessions, upload)
    _verify(run, manifest)
    run.hear.step("move in place")
    on_all(run.sessions, _ask("place", id=name))


def _verify(run: Run, manifest: Manifest) -> None:
    """Raises PublishError, which is Damaged where a server had the release already."""
    name = manifest["id"]
    run.hear.step("verify on the servers", sum(file["size"] for file in manifest["files"]) * len(run.sessions))
    told = on_all(run.sessions, lambda one: one.ask("verify", run.hear.progress, id=name))
    for one, status, found in zip(run.sessions, run.statuses, told, strict=True):
        if found["wrong"]:
            words = "; ".join(f"{path}: {why}" for path, why in list(found["wrong"].items())[:5])
            kind = Damaged if name in run.held(status) else PublishError
            raise kind(f"{one.place.name}: {name}: {words}")


def _switch(run: Run, manifest: Manifest, paths: Sequence[str]) -> None:
    name, last = manifest["id"], max(one["since"] for one in run.statuses)
    run.hear.step("switch")
    on_all(run.sessions, _ask("switch", id=name, since=max(int(run.now.timestamp()), last + 1)))
    run.hear.step("look from outside")
    wrong = [f"{one.name}: {told}" for one in run.places for told in run.look(one, manifest, paths)]
    if wrong:
        raise PublishError("published, and not as visitors should find it: " + "; ".join(wrong))
    on_all(run.sessions, _ask("close", keep=run.keep))


def rollback(run: Run, name: str = "") -> Change:
    """Serves a release that is on all servers already: the named one, or the one before. Raises as publish does.

    Whoever runs it again after it was killed goes where it went, and no further back.
    """
    with run.connected(lock=not run.dry):
        target = name or max(one["back"] for one in run.statuses) or _earlier(run)
        for one, status in zip(run.places, run.statuses, strict=True):
            if target not in run.held(status):
                raise PublishError(f"{one.name}: does not hold {target}; `mainstay web status` tells what it does")
        then = run.manifest(target)
        change = compare(run.manifest(run.replaced(target)), then)
        if run.dry:
            return change
        _verify(run, then)
        on_all(run.sessions, _ask("go back", id=target))
        _switch(run, then, [*change.added, *change.changed])
        return change


def _earlier(run: Run) -> str:
    """What was served before. Raises PublishError where there is nothing, or it is not clear what that is."""
    served = run.served
    for one, status in zip(run.places, run.statuses, strict=True):
        if status["served"] > served:
            raise PublishError(f"{one.name} was left out of the way back to {served}: name that, or another")
    if not (before := run.manifest(served)["before"]):
        raise PublishError("there is nothing before what is served")
    return str(before)


def status(run: Run) -> dict[str, dict[str, Any]]:
    """What is where, by server; of one that does not answer only what is `wrong`."""

    def look(place: Place) -> dict[str, Any]:
        try:
            with session(place, PROGRAM) as to:
                return to.ask("status")
        except ServerError as error:
            return {"wrong": str(error).removeprefix(f"{place.name}: ")}

    with ThreadPoolExecutor(len(run.places)) as pool:
        return {one.name: found for one, found in zip(run.places, pool.map(look, run.places), strict=True)}


def begun(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was not ended, in words. found: what is where, of servers that answer."""
    lines = [f"{name}: {one['id']} of {one['who']} was begun" for name, told in found.items() for one in told["begun"]]
    return lines + [f"{name}: a way back to {told['back']} was begun" for name, told in found.items() if told["back"]]


def in_maintenance(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whose visitors get the page of maintenance, in words. found: as of `begun`."""
    return [
        f"{name}: in maintenance since {datetime.fromtimestamp(told['maintenance'], UTC):%Y-%m-%d %H:%M} UTC"
        for name, told in found.items()
        if told["maintenance"]
    ]


def _reached(to: Session, do: str) -> dict[str, Any]:
    """The first that is asked of a server. Raises ServerError."""
    try:
        return to.ask(do)
    except Away as error:
        raise Away(f"{error}; nothing is published; --without {to.place.name} leaves it out for now") from None


def _last(statuses: Sequence[Mapping[str, Any]]) -> str:
    """What was switched to last, by any of these."""
    return str(max(((one["since"], one["served"]) for one in statuses), default=(0, ""))[1])


def _ask(do: str, **more: Any) -> Callable[[Session], dict[str, Any]]:
    return lambda one: one.ask(do, **more)
