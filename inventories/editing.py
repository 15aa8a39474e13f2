"""Changing secrets in an editor: the clear text it shows, what was changed in it, and the folder it may lie in.

The clear text exists only in memory and in a private folder on a file system that is memory too, and only while the
editor is open: the folder goes when the editor ends, when this process is told to end, and, through a watcher that
outlives it, when this process is killed.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

import tomlkit

from inventories import departed
from inventories.errors import InputError
from inventories.secrets import (
    CONTROL,
    DRILL,
    TAG,
    Entry,
    Readers,
    Secrets,
    UnreadableError,
    allowed,
    check_name,
    encrypt,
    owners,
    update,
    write,
)

IN_MEMORY = ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", ""))  # noqa: S108  # only private folders are made there
HEADER = """\
# Secrets of {path}
# One a line: NAME = "value", or with tags: NAME = {{ value = "...", tags = ["drill"] }}.
# A line removed is a secret removed.
# Saved, a changed value is encrypted to: {readers}.
"""
FOR_CONTROL = f"""\
# With the tag "{CONTROL}" the control host can read it too, with "{DRILL}" for its restore drills: never what deletes
# or provisions, but in the account of the drills.
"""
# Reads until the other end of the pipe is closed, which the kernel does whatever ends the process there.
WATCHER = "import shutil, sys; sys.stdin.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"
# No swap file, no viminfo (registers hold what was copied), no backup and no undo file elsewhere.
VIM = ("-n", "-i", "NONE", "-c", "silent! set nobackup nowritebackup noundofile")


@dataclass(frozen=True)
class Plain:
    """A secret in the clear."""

    value: str = field(repr=False)
    tags: tuple[str, ...] = ()


Changes = Mapping[str, Plain | None]
"""New content by name; None removes."""


def decrypted(secrets: Secrets) -> dict[str, Plain]:
    """All that the keys here can read. Raises InputError when one that should be readable is not."""
    plain = {}
    for name in secrets:
        with suppress(UnreadableError):
            plain[name] = Plain(secrets[name].get_secret_value(), secrets.entries[name].tags)
    return plain


def render(secrets: Secrets, plain: Mapping[str, Plain], readers: Readers) -> str:
    """What the editor shows."""
    lines = [HEADER.format(path=secrets.path, readers=", ".join(sorted(allowed(readers, ()))))]
    if CONTROL in readers:
        lines.append(FOR_CONTROL)
    for name in secrets:
        if name not in plain:
            who = ", ".join(owners(secrets.entries[name]))
            lines.append(f"# {name}: only {who} can read it; it stays as it is\n")
    for name, secret in plain.items():
        table = f"{{ value = {_quoted(secret.value)}, tags = {tomlkit.item(list(secret.tags)).as_string()} }}"
        lines.append(f"{name} = {table if secret.tags else _quoted(secret.value)}\n")
    return "".join(lines)


def _quoted(value: str) -> str:
    text = tomlkit.string(value, multiline="\n" in value).as_string()
    if tomllib.loads(f"x = {text}")["x"] != value:  # TOML takes \r\n in several lines for \n
        return tomlkit.string(value).as_string()
    return text


def parse(path: Path, text: str) -> dict[str, Plain]:
    """What was typed. Raises InputError for the secrets file at `path`, which never quotes a value."""
    try:
        text.encode()
        tables = tomllib.loads(text)
    except UnicodeEncodeError:
        raise InputError(path, "", "what was typed is not UTF-8", "have your editor save UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(path, "", f"what was typed is not TOML: {error}", 'expected lines NAME = "value"') from None
    return {name: _plain(path, name, given) for name, given in tables.items()}


def _plain(path: Path, name: str, given: Any) -> Plain:
    check_name(path, name)
    table = given if isinstance(given, dict) else {"value": given}
    for key in table.keys() - {"value", "tags"}:
        raise InputError(path, f"{name}.{key}", "unknown field", 'use NAME = { value = "...", tags = ["..."] }')
    value, tags = table.get("value"), table.get("tags", [])
    if not isinstance(value, str) or not value:
        raise InputError(path, name, "must be text in quotes, and not empty", 'NAME = "value"')
    if not isinstance(tags, list) or not all(isinstance(tag, str) and TAG.fullmatch(tag) for tag in tags):
        raise InputError(path, f"{name}.tags", "must be a list of lower-case words", 'tags = ["drill"]')
    return Plain(value, tuple(tags))


def changes(before: Mapping[str, Plain], after: Mapping[str, Plain]) -> Changes:
    """What differs."""
    return {
        name: after.get(name) for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)
    }


def apply(path: Path, before: Mapping[str, Entry], wanted: Changes, readers: Readers) -> None:
    """Encrypts the changes and writes them over the file as it is now; everything else in it stays byte for byte.

    Who can no longer read one of them is written down as departed, before that: they know the value that it had.
    Raises InputError when one of those secrets is no longer as in `before`: somebody else changed it meanwhile. What
    was wanted is then kept, encrypted, beside the file.
    """
    fresh = {name: encrypt(path, name, new.value, readers, new.tags) for name, new in wanted.items() if new}

    def change(entries: dict[str, Entry]) -> None:
        lost = [name for name in wanted if entries.get(name) != before.get(name)]
        if lost:
            raise _keep(path, lost, fresh)
        departed.note(path.parent, _left_out(entries, fresh))
        for name in wanted:
            entries.pop(name, None)
        entries.update(fresh)

    update(path, change)


def _left_out(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> dict[str, list[str]]:
    """Names of the secrets that somebody could read before and cannot now, by whose name."""
    found: dict[str, list[str]] = {}
    for name in after.keys() & before.keys():
        for owner in {*owners(before[name])} - {*owners(after[name])}:
            found.setdefault(owner, []).append(name)
    return found


def _keep(path: Path, lost: list[str], fresh: Mapping[str, Entry]) -> InputError:
    hint = "look at it with `mainstay secrets show`, and edit again"
    if fresh:
        names = (f"{path.name}.yours{number}" for number in ("", *range(2, 1000)))
        kept = next(free for free in map(path.with_name, names) if not free.exists())
        write(kept, fresh)
        hint = f"yours is kept, encrypted, in {kept}: see it with `mainstay secrets show NAME --file`, and edit again"
    return InputError(path, ", ".join(lost), "changed by somebody else meanwhile: nothing was written", hint)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder in memory that only this user can enter, gone afterwards, also when this process is killed."""
    for parent in filter(None, IN_MEMORY):
        if os.access(parent, os.W_OK | os.X_OK):
            break
    else:
        hint = "edit where there is /dev/shm or $XDG_RUNTIME_DIR: secrets in the clear must not reach a disk"
        raise InputError("mainstay secrets edit", "", "there is no file system in memory here", hint)
    folder = Path(tempfile.mkdtemp(prefix="mainstay-", dir=parent))
    command = [sys.executable, "-I", "-S", "-c", WATCHER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def edit(text: str) -> str:
    """The text as the user's editor leaves it. Raises InputError when the editor fails.

    Bytes that are no UTF-8 are escaped as Python does in names of files, so that they can be edited again.
    """
    command = _command()
    if "vim" in Path(os.path.realpath(shutil.which(command[0]) or command[0])).name:
        command += VIM
    with _OrderlyEnd() as end, private_folder() as folder:
        file = folder / "secrets.toml"
        file.touch(mode=0o600)
        file.write_text(text, "utf-8", "surrogateescape")
        try:
            editor = subprocess.Popen([*command, str(file)])
        except OSError as error:
            raise InputError("$EDITOR", "", f"cannot run {command[0]!r}: {error.strerror}", "set EDITOR") from error
        try:
            end.now_if_told()
            code = editor.wait()
        finally:
            _stop(editor)
        if code:
            raise InputError("$EDITOR", "", f"{command[0]!r} ended with {code}: nothing was changed")
        try:
            return file.read_text("utf-8", "surrogateescape")
        except OSError as error:
            problem = f"{command[0]!r} left no file: {error.strerror}; nothing was changed"
            raise InputError("$EDITOR", "", problem, "save the file under the name it was opened by") from error


def _command() -> list[str]:
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "editor"
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise InputError("$EDITOR", "", f"{given!r} is no command: {error}", "set EDITOR") from None
    if not words:
        raise InputError("$EDITOR", "", f"{given!r} is no command", "set EDITOR")
    return words


def _stop(editor: subprocess.Popen[bytes]) -> None:
    if editor.poll() is None:
        editor.terminate()
        try:
            editor.wait(timeout=2)
        except subprocess.TimeoutExpired:
            editor.kill()


class _OrderlyEnd:
    """SIGTERM and a closed terminal end this process by SystemExit, so that all is cleaned up.

    Only from `now_if_told` on: raised while the editor is being started, nobody would know that there is one to stop.
    Ctrl-C is the editor's own business.
    """

    def __init__(self) -> None:
        self._told: int | None = None
        self._listening = False

    def __enter__(self) -> Self:
        ends = {number: signal.signal(number, self._tell) for number in (signal.SIGTERM, signal.SIGHUP)}
        self._before = ends | {signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _tell(self, number: int, _: FrameType | None) -> None:
        self._told = number
        if self._listening:
            raise SystemExit(128 + number)

    def now_if_told(self) -> None:
        """Ends now when a signal has come already, and from here on as soon as one comes."""
        self._listening = True
        if self._told is not None:
            raise SystemExit(128 + self._told)
