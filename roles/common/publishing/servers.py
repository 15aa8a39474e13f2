"""Web servers, as publishing speaks to them: a session of a program each, and rsync beside what is served."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType
from typing import IO, Any, TypeVar

from backup.reach import Reach
from inventories.errors import InputError
from roles.common.publishing import on_server

LOAD = """
import sys, types
for name, size in {}:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(sys.stdin.buffer.read(size), name, "exec"), module.__dict__)
sys.exit(module.main(sys.argv[1:]))
"""
ANSWER_AT_MOST = 32 << 20
SAID_AT_MOST = 2000
PROGRESS = re.compile(rb"^\s*([0-9,]+)\s+\d+%")

T = TypeVar("T")
Tell = Callable[[int], None]
"""Told of bytes that came or were read since it was told last."""


class ServerError(Exception):
    """Which server, and what it said."""


class Away(ServerError):
    """It cannot be reached, or is no more."""


class Program:
    """What runs on a server: a module with a `main(arguments)` that imports roles.common.publishing.on_server, and what
    is named before it, at most.

    It comes over standard input, and what it is asked after it: no process list shows either.
    """

    def __init__(self, *modules: ModuleType) -> None:
        sources = [(one.__name__, Path(str(one.__file__)).read_bytes()) for one in (on_server, *modules)]
        self.source = b"".join(source for _, source in sources)
        self.start = LOAD.format([(name, len(source)) for name, source in sources])


@dataclass(frozen=True)
class Place:
    """A web server. command: words that run a command there as its content's owner; shell: what rsync is told to reach
    it, and how its paths begin."""

    name: str
    root: str
    command: Callable[..., Sequence[str]]
    shell: tuple[str, ...] = ()
    prefix: str = ""


def place(way: Reach, name: str, root: str, owner: str) -> Place:
    """A host of the inventory, under its pinned keys."""
    return Place(
        name,
        root,
        lambda *words: way.admin(name, shlex.join(["sudo", "-n", "-u", owner, *words])),
        ("--rsh", " ".join(way.ssh), "--rsync-path", f"sudo -n -u {owner} rsync"),
        f"{name}:",
    )


def left(role: str, known: Collection[str], without: Collection[str]) -> list[str]:
    """The servers of a role but those. Raises InputError when one of them is none, or none is left."""
    if unknown := sorted({*without} - {*known}):
        hint = f"of these there are: {', '.join(known)}"
        raise InputError("--without", "", f"no {role} server {', '.join(unknown)}", hint)
    if not (found := [name for name in known if name not in without]):
        raise InputError("--without", "", f"no {role} server is left", "name fewer")
    return found


@dataclass
class Session:
    """A connection to a server; what it holds there goes with it."""

    place: Place
    running: "subprocess.Popen[bytes]"
    errors: IO[bytes]

    def ask(self, do: str, tell: Tell = lambda _: None, **more: Any) -> dict[str, Any]:
        """What it answers. Raises ServerError when it refuses, Away when it is gone."""
        assert self.running.stdin
        assert self.running.stdout
        try:
            self.running.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
            self.running.stdin.flush()
            while line := self.running.stdout.readline(ANSWER_AT_MOST):
                told: dict[str, Any] = json.loads(line)
                if "progress" in told:
                    tell(told["progress"])
                elif told.pop("ok"):
                    return told
                else:
                    raise ServerError(f"{self.place.name}: {told['why']}")
        except (BrokenPipeError, ValueError):
            pass
        raise Away(f"{self.place.name}: {self._last_words()}")

    def ask_whether(self, do: str, **more: Any) -> dict[str, Any] | str:
        """What it answers, or why it refuses. Raises Away."""
        try:
            return self.ask(do, **more)
        except Away:
            raise
        except ServerError as error:
            return str(error).removeprefix(f"{self.place.name}: ")

    def upload(self, folder: Path, paths: Sequence[str], into: str, tell: Tell) -> None:
        """Brings files of a folder to one below the server's root, and goes on with what came already.

        Raises ServerError.
        """
        self._rsync(paths, f"{folder}/", f"{self.place.prefix}{self.place.root}/{into}/", tell)

    def download(self, root: str, paths: Sequence[str], folder: Path, tell: Tell) -> None:
        """Fetches files below one of the server's root, and goes on with what came already.

        Raises ServerError.
        """
        self._rsync(paths, f"{self.place.prefix}{self.place.root}/{root}/", f"{folder}/", tell)

    def _rsync(self, paths: Sequence[str], source: str, target: str, tell: Tell) -> None:
        words = ["rsync", "--times", "--append-verify", "--info=progress2", "--no-inc-recursive", "--mkpath"]
        words += [*self.place.shell, "--timeout=120", "--files-from=-", "--from0", source, target]
        with (
            TemporaryFile() as errors,
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as running,
        ):
            assert running.stdin
            assert running.stdout
            with suppress(BrokenPipeError):  # why it did not listen, it says
                running.stdin.write(b"\0".join(path.encode() for path in paths))
                running.stdin.close()
            try:
                _follow(running.stdout, tell)
            finally:
                if running.poll() is None:
                    running.terminate()
            if running.wait():
                raise ServerError(f"{self.place.name}: rsync: {_tail(errors)}")

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.running.wait(5)
        return _tail(self.errors) or f"the connection ended ({self.running.poll()})"


def on_all(sessions: Sequence[Session], do: Callable[[Session], T]) -> list[T]:
    """At the same time on every server; the first error is raised when all have ended."""
    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(do, sessions))


@contextmanager
def session(to: Place, program: Program | None) -> Iterator[Session]:
    """A connection, for as long as it is needed. program: None where the place's command is one. Raises ServerError."""
    words = to.command("python3", "-I", "-c", program.start, to.root) if program else to.command()
    with TemporaryFile() as errors:
        running = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        made = Session(to, running, errors)
        try:
            assert running.stdin
            with suppress(BrokenPipeError):
                if program:
                    running.stdin.write(program.source)
                    running.stdin.flush()
            yield made
        finally:
            assert running.stdin
            assert running.stdout
            with suppress(BrokenPipeError):
                running.stdin.close()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
            running.stdout.close()


def _follow(output: IO[bytes], tell: Tell) -> None:
    """rsync's progress2: BYTES PERCENT, with a carriage return after each."""
    done, rest = 0, b""
    while part := output.read1(65536):  # type: ignore[attr-defined]
        *lines, rest = (rest + part).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if found := PROGRESS.match(line):
                count = int(found[1].replace(b",", b""))
                tell(count - done)
                done = count


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read()[-SAID_AT_MOST:].decode(errors="replace").strip()
