"""What restic is to read, so that all of it is of one instant; and everything put back afterwards, whatever happened.

A run that was killed leaves a mark (state.due) or a snapshot: `settle` puts back what it left.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from backup.agent import btrfs, interrupts, ref_manifest, ref_seen, refs
from backup.agent.plan import Plan
from backup.agent.state import State
from backup.restic_results import Unread

REPLACED = "was replaced while it was read"
"""Of a path of the plan: why it is not whole."""
SAID_AT_MOST = 500
"""Bytes of a failed step's last words that are told."""
TERM_S = 20
"""How long a step that is broken off may take to end before it is killed."""


class StepFailed(Exception):
    """A command of the plan's before or after failed, or its data is not there."""


@dataclass(frozen=True)
class Source:
    """restic's arguments: the folder, the paths below it, patterns for absolute paths."""

    root: Path
    paths: tuple[str, ...]
    exclude: tuple[str, ...]
    lacking: tuple[Unread, ...] = ()
    """What is not whole when it is saved like this."""
    replaced: Callable[[], Sequence[Unread]] = tuple
    """Once it was read: what became another one meanwhile, so that half of each may be saved."""


@contextmanager
def source(plan: Plan, state: State) -> Iterator[Source]:
    """The data while it may be read. Raises StepFailed, SnapshotError, RefsError."""
    with _around(plan, state):
        root, paths = Path(plan.root), plan.paths
        if plan.consistency != "command":
            _are_there(root, paths)
        if plan.consistency == "btrfs":
            with _snapshot(plan) as frozen:
                lacking = _manifest(plan, state, frozen)
                listed = plan.repositories and (frozen / ref_manifest.FILE).exists()
                manifest = (ref_manifest.FILE,) if listed else ()
                exclude = anchored((*plan.exclude, f"/{btrfs.PREFIX}*"), frozen)
                yield Source(frozen, _with(paths, *manifest), exclude, lacking)
            return
        if plan.consistency == "refs":
            with refs.no_gc(root, paths):
                refs.write(root, paths)
                lacking = tuple(Unread(str(one), why) for one, why in refs.borrowing(root, paths))
                exclude = anchored((*plan.exclude, refs.GC_LOCK), root)
                yield Source(root, _with(paths, refs.MANIFEST), exclude, lacking)
            return
        if plan.consistency == "files":
            with _held(root, paths) as replaced:
                yield Source(root, paths, anchored(plan.exclude, root), replaced=replaced)
            return
        yield Source(root, paths, anchored(plan.exclude, root))


def settle(plan: Plan, state: State) -> list[str]:
    """Puts back what a killed run left, and says what. The plan's lock is held. Raises as `source`."""
    done = []
    with interrupts.held():
        if plan.consistency == "btrfs" and btrfs.remove(Path(plan.root), plan.name):
            done.append("removed the snapshot of an earlier run")
        if state.due.exists():
            _after(plan, state)
            done.append("ran the commands that an earlier run was to run after it")
    return done


def anchored(patterns: Sequence[str], root: Path) -> tuple[str, ...]:
    """Patterns below root, as patterns of absolute paths: restic would match others with root's own path too."""
    found = []
    for pattern in patterns:
        no, rest = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
        middle = "" if rest.startswith("/") else "/**/"
        found.append(f"{no}{str(root).rstrip('/')}{middle}{rest}")
    return tuple(found)


def _with(paths: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return paths if "." in paths else (*paths, *more)


def _manifest(plan: Plan, state: State, frozen: Path) -> tuple[Unread, ...]:
    """Of refs, in the snapshot, which is sealed then; returns the repositories that are broken. Where there
    is no room for it the rest is saved all the same."""
    if not plan.repositories:
        return ()
    try:
        broken = ref_seen.manifest(Path(plan.root), frozen, plan.repositories, state.refs_seen)
    except OSError as error:
        broken = [(ref_manifest.FILE, f"cannot be written: {error.strerror}")]
    btrfs.seal(Path(plan.root), plan.name)
    return tuple(Unread(f"{plan.root}/{path}", why) for path, why in broken)


def _are_there(root: Path, paths: Sequence[str]) -> None:
    for path in paths:
        if not os.path.lexists(root / path):
            raise StepFailed(f"{root / path}: is not there: is its volume mounted?")


@contextmanager
def _held(root: Path, paths: Sequence[str]) -> Iterator[Callable[[], Sequence[Unread]]]:
    """Which of these are another file or folder by then, by a rename. They are held, lest another gets its number."""
    with ExitStack() as stack:
        held = {}
        for path in paths:
            held[path] = os.open(root / path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, held[path])

        def is_there(path: str) -> bool:
            try:
                return os.path.samestat(os.lstat(root / path), os.fstat(held[path]))
            except FileNotFoundError:
                return True  # restic tells that

        yield lambda: [Unread(path, REPLACED) for path in paths if not is_there(path)]


@contextmanager
def _around(plan: Plan, state: State) -> Iterator[None]:
    if not plan.before and not plan.after:
        yield
        return
    state.due.touch(mode=0o600)
    try:
        for words in plan.before:
            _step("before", words)
        yield
    finally:
        with interrupts.held():
            _after(plan, state)


def _after(plan: Plan, state: State) -> None:
    """All of them, even if one fails."""
    failed = []
    for words in plan.after:
        try:
            _step("after", words)
        except StepFailed as error:
            failed.append(str(error))
    state.due.unlink(missing_ok=True)
    if failed:
        raise StepFailed("; ".join(failed))


def _step(kind: str, words: Sequence[str]) -> None:
    """Output goes to a file, as what a step starts may keep it open; a terminal's Ctrl-C is the agent's to hear."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, process_group=0
            )
        except OSError as error:
            raise StepFailed(f"{kind}: {words[0]}: {error.strerror}") from None
        try:
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        if code:
            said.seek(max(0, said.tell() - SAID_AT_MOST))
            text = said.read(SAID_AT_MOST).decode(errors="replace").strip()
            raise StepFailed(f"{kind}: {words[0]}: exit code {code}: {text}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a step and what it started: a shell hands no signal on, and some heed none."""
    for number, patience_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)


@contextmanager
def _snapshot(plan: Plan) -> Iterator[Path]:
    root = Path(plan.root)
    try:
        with interrupts.held():
            frozen = btrfs.take(root, plan.name, plan.paths, plan.exclude, writable=bool(plan.repositories))
        yield frozen
    finally:
        with interrupts.held():
            btrfs.remove(root, plan.name)
