"""One run of restic: what it is given without anybody seeing it, what it says, and how it is ended.

Address and passwords reach restic through unnamed files in memory: no argument, environment variable or file on disk
holds them. The environment is built from nothing, as RESTIC_* variables left in it would be obeyed. A run that is
broken off (an exception in a callback, KeyboardInterrupt) interrupts restic and waits for it, because killing it leaves
a lock.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

Message = dict[str, Any]
BUNDLES = tuple(
    Path(name)
    for name in (
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    )
)
"""Where machines keep the authorities that they trust (Go's crypto/x509 looks there)."""
SILENT_S = 1
"""How long restic says nothing before `idle` is called, each time."""
INTERRUPT_S = 60
"""How long an interrupted restic may take to remove its lock and end before it is killed."""


class ResticError(Exception):
    """restic failed. command is its name, code its exit code, text its own words without secrets."""

    def __init__(self, command: str, code: int, text: str) -> None:
        self.command, self.code, self.text = command, code, text
        super().__init__(f"restic {command}: {text} (exit code {code})")


class NoRepository(ResticError):
    """The address answers, and there is no repository."""


class Locked(ResticError):
    """Another run holds a lock; `unlock` removes those whose owner is gone."""


class WrongPassword(ResticError):
    """No key of the repository opens with this password."""


class Interrupted(ResticError):
    """restic was interrupted from outside."""


MEANINGS: dict[int, type[ResticError]] = {10: NoRepository, 11: Locked, 12: WrongPassword, 130: Interrupted}
WORDS: list[tuple[str, type[ResticError]]] = [
    ("<config/> does not exist", NoRepository),
    ("config: no such file or directory", NoRepository),
    ("repository is already locked", Locked),
    ("wrong password or no key found", WrongPassword),
    ("signal interrupt received", Interrupted),
]
"""What exit code 1 means by restic's words: versions before 0.17 know no other code, 0.18 none for interruption."""


@dataclass(frozen=True)
class Repository:
    """Where backups lie, with one cache a repository.

    environment holds a backend's own variables (AWS_DEFAULT_REGION); credentials those that name a file, with what it
    is to say (AWS_SHARED_CREDENTIALS_FILE). ca None: the machine's authorities are trusted.
    """

    url: str = field(repr=False)
    password: str = field(repr=False)
    cache: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: Path | None = None

    def without_secrets(self, text: str) -> str:
        """A text in which no password of this repository stands."""
        login = re.search(r"//[^/@:]*:([^/@]*)@", self.url)
        given = re.findall(r"= *(\S+)", "\n".join(self.credentials.values()))
        for secret in filter(None, (self.password, login and login[1], *given)):
            text = text.replace(secret, "***")
        return text


@dataclass
class Run:
    """What a run said: JSON and plain lines of standard output, errors and words of standard error."""

    code: int = 0
    messages: list[Any] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    errors: list[Message] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def listed(self) -> list[Message]:
        """What a command lists; restic may say `null` for nothing."""
        found: list[Message] = next(iter(self.messages), [])
        return found

    def summary(self) -> Message:
        return next((m for m in reversed(self.messages) if m.get("message_type") == "summary"), {})


Hear = Mapping[str, Callable[[Message], None]]
"""What to do with messages, by their message_type; all others are collected."""


def run(
    program: str,
    repository: Repository,
    command: str,
    *arguments: str,
    source: Repository | None = None,
    files: Sequence[int] = (),
    cwd: Path = Path("/"),
    hear: Hear | None = None,
    allowed: Sequence[int] = (0,),
    with_children: bool = False,
    idle: Callable[[], None] | None = None,
) -> Run:
    """Runs `restic COMMAND --json` to its end.

    source is the repository of --from-repo; files are descriptors that restic inherits; with_children: what restic
    started is ended too when the run is broken off; idle is called each second in which restic says nothing. Raises
    ResticError, by its meaning, for an exit code that is not allowed.
    """
    with given(repository, source) as (environment, held, options):
        if command == "backup":
            # A btrfs snapshot is a device of its own: all folders would be others, and saved anew (since 0.17).
            environment["RESTIC_FEATURES"] = "device-id-for-hardlinks=true"
        process = subprocess.Popen(
            [program, command, "--json", *options, *arguments],
            env=environment,
            pass_fds=[*files, *held],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        done = _listen(process, hear or {}, with_children, idle)
    if done.code not in allowed:
        raise failure(repository, command, done)
    return done


@contextlib.contextmanager
def given(
    repository: Repository, source: Repository | None = None
) -> Iterator[tuple[dict[str, str], list[int], list[str]]]:
    """What restic needs to be told of a repository: its whole environment, descriptors to inherit, options.

    Paths are told from the root on, as restic runs elsewhere.
    """
    repository.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        environment = _environment(repository)
        held = []
        for prefix, place in (("", repository), ("FROM_", source)):
            if place:
                environment |= place.environment
                mine = {
                    f"RESTIC_{prefix}REPOSITORY_FILE": _address(place.url),
                    f"RESTIC_{prefix}PASSWORD_FILE": place.password,
                }
                for name, text in (mine | {**place.credentials}).items():
                    file = stack.enter_context(in_memory(text))
                    environment[name] = in_memory_path(file)
                    held.append(file)
        yield environment, held, [f"--cacert={ca.absolute()}" for ca in authorities(repository, source)]


def authorities(repository: Repository, source: Repository | None) -> list[Path]:
    """Whom restic is to trust; none for what it does by itself.

    What it is given takes the place of the machine's authorities, for both repositories: so these are given too where
    only one of the two has its own.
    """
    own = dict.fromkeys(place.ca for place in (repository, source) if place)
    given = [ca for ca in own if ca]
    if given and None in own:
        given += [bundle for bundle in BUNDLES if bundle.exists()][:1]
    return given


def failure(repository: Repository, command: str, done: Run) -> ResticError:
    """The error that a run ended with, by its exit code or, where that says nothing, by restic's words."""
    text = "\n".join(done.words).removeprefix("Fatal: ").strip() or "no word of what went wrong"
    if text.startswith("unknown flag"):
        text += ": this restic is too old; see `restic version`"
    by_words = next((kind for words, kind in WORDS if words in text), ResticError)
    kind = by_words if done.code == 1 else MEANINGS.get(done.code, ResticError)
    # "There were 80 errors" is all that a restore's last word says; the first of them says which.
    told = (f"{one.get('item', '')}: {one.get('error', {}).get('message', '')}" for one in done.errors)
    if first := next((one.strip(" :") for one in told if one.strip(" :")), ""):
        text += f"; {first}"
    return kind(command, done.code, repository.without_secrets(text))


@contextlib.contextmanager
def in_memory(text: str) -> Iterator[int]:
    """A file that exists only in memory, as a descriptor for in_memory_path; every opening reads it from its start."""
    file = os.memfd_create("restic")
    try:
        os.write(file, text.encode(errors="surrogateescape"))
        yield file
    finally:
        os.close(file)


def in_memory_path(file: int) -> str:
    """Where a child that inherited the descriptor finds the file."""
    return f"/proc/self/fd/{file}"


def _address(url: str) -> str:
    """As it is; a folder's with its whole path."""
    folder = url.removeprefix("local:")
    return url if re.match("[a-z0-9]+:", folder) else str(Path(folder).absolute())


def _environment(repository: Repository) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "RESTIC_CACHE_DIR": str(repository.cache.absolute()),
        "RESTIC_PROGRESS_FPS": "2",
    }


def _listen(
    process: "subprocess.Popen[bytes]", hear: Hear, with_children: bool, idle: Callable[[], None] | None
) -> Run:
    """Hears a run out. Threads read both pipes, so that restic can always write, also while it is interrupted."""
    done = Run()
    lines: SimpleQueue[bytes | None] = SimpleQueue()
    assert process.stdout
    assert process.stderr
    readers = [
        threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True),
        threading.Thread(target=_note, args=(process.stderr, done), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        while (line := _next(lines, idle)) is not None:
            message = _parsed(line)
            kind = message.get("message_type", "") if isinstance(message, dict) else ""
            if kind in hear:
                hear[kind](message)
            elif message is None:
                done.plain.append(line.decode(errors="replace").strip())
            elif kind not in ("status", "verbose_status"):
                done.messages.append(message)
    except BaseException:
        _interrupt(process, with_children)
        raise
    finally:
        done.code = process.wait()
        for reader in readers:
            reader.join()
    return done


def _next(lines: "SimpleQueue[bytes | None]", idle: Callable[[], None] | None) -> bytes | None:
    while idle:
        try:
            return lines.get(timeout=SILENT_S)
        except Empty:
            idle()
    return lines.get()


def _pass_on(pipe: IO[bytes], lines: "SimpleQueue[bytes | None]") -> None:
    for line in pipe:
        lines.put(line)
    lines.put(None)


def _note(pipe: IO[bytes], done: Run) -> None:
    for line in pipe:
        message = _parsed(line)
        if not isinstance(message, dict):
            done.words.append(line.decode(errors="replace").strip())
        elif message.get("message_type") == "error":
            done.errors.append(message)
        else:
            done.words.append(message.get("message", "").strip())


def _parsed(line: bytes) -> Any:
    """The object or list of a line; None where it is none (ids; progress of some commands before 0.18)."""
    if not line.startswith((b"{", b"[")):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _interrupt(process: "subprocess.Popen[bytes]", with_children: bool) -> None:
    """restic leads the group of all that it starts, and is deaf to further signals after its first.

    Who is impatient, and interrupts this too, still has it killed when its time is over.
    """
    process.send_signal(signal.SIGINT)
    if with_children:
        _signal_group(process.pid, signal.SIGTERM)
    killer = threading.Timer(INTERRUPT_S, process.kill)
    killer.daemon = True
    killer.start()
    try:
        process.wait()
    finally:
        if with_children:
            _signal_group(process.pid, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
