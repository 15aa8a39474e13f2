"""A plan: what of this host is saved, how, and where to. Read from /etc/mainstay/backup/NAME.json.

Nothing of a plan is believed before all of it is right: it is run by root.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
HOST = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
ROOT = re.compile(r"(/[\w.+@-]+)+|/", re.ASCII)
_LETTER = r"(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
URL = re.compile(
    rf"rest:https?://({_LETTER}+(:{_LETTER}*)?@)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{{1,5}})?(/({_LETTER}|[/:])*)?",
    re.ASCII,
)
S3_URL = re.compile(r"s3:https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[\w.-]+)+", re.ASCII)
URL_LIKE = (
    "must be an absolute path or like rest:https://USER:PASSWORD@HOST:PORT/PATH/ or s3:https://HOST:PORT/BUCKET/PATH, "
    "all in ASCII and else as %XX"
)
"""An address is not shown: it holds a password."""
CONSISTENCIES = ("files", "btrfs", "refs", "command")
"""See backup/agent/README.md."""
SAVE, RESTORE = "save", "restore"
MAY = (SAVE, RESTORE)
"""What a plan may: save, and all else that the agent does; or restore what another host saved, and never save."""
LARGEST = 1 << 20
"""Bytes of a plan file."""


class PlanError(Exception):
    """A plan file that cannot be meant. Names file, key and problem."""

    def __init__(self, file: Path, key: str, problem: str) -> None:
        self.file, self.key, self.problem = file, key, problem
        super().__init__(": ".join(filter(None, (str(file), key, problem))))


@dataclass(frozen=True)
class Plan:
    """One data set of this host."""

    name: str
    host: str
    url: str = field(repr=False)
    password: str = field(repr=False)
    ca: str
    """File with the certificate of the repository's server; empty for one that the system knows."""
    s3_region: str
    s3_access_key: str = field(repr=False)
    s3_secret_key: str = field(repr=False)
    """Of a repository in storage that speaks S3, else empty."""
    may: str
    """`save` or `restore`: MAY."""
    root: str
    owner: str
    """The user that all of it belongs to but for what is root's; empty: a restore leaves the numbers as they were."""
    paths: tuple[str, ...]
    """Below root; "." is all of it."""
    exclude: tuple[str, ...]
    """restic's patterns: with a leading slash from root on, else anywhere below it."""
    consistency: str
    repositories: tuple[str, ...]
    """Folders below root: git repositories, a manifest of whose refs is saved with a btrfs snapshot."""
    command: tuple[str, ...]
    before: tuple[tuple[str, ...], ...]
    after: tuple[tuple[str, ...], ...]
    rpo_hours: int


def load(folder: Path, name: str) -> Plan:
    """Reads a plan. Raises PlanError."""
    file = folder / f"{name}.json"
    if not NAME.fullmatch(name):
        raise PlanError(folder, "", f"{name!r} is not a plan's name")
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _trusted(file, os.fstat(opened))
            content = os.read(opened, LARGEST + 1)
        finally:
            os.close(opened)
    except FileNotFoundError:
        raise PlanError(file, "", f"no such plan; there are: {', '.join(names(folder)) or 'none'}") from None
    except OSError as error:
        link = "is a link: a plan is a file" if error.errno == errno.ELOOP else ""
        raise PlanError(file, "", link or f"cannot be read: {error.strerror}") from None
    plan = parse(file, content)
    if plan.name != name:
        raise PlanError(file, "name", f"is {plan.name!r}, and the file's name says {name!r}")
    return plan


def _trusted(file: Path, found: os.stat_result) -> None:
    """That nobody else can have written it. Raises PlanError."""
    if not stat.S_ISREG(found.st_mode):
        raise PlanError(file, "", "is no file")
    if found.st_uid != os.geteuid():
        raise PlanError(file, "", "belongs to another user, who could have this one run anything: chown root")
    if found.st_mode & 0o077:
        raise PlanError(file, "", "others may read or change it, and it holds a password: chmod 600")


def names(folder: Path) -> list[str]:
    """Of all plans of this host. Raises OSError for a folder that cannot be listed; one that is not there has none."""
    try:
        return sorted(file.stem for file in folder.iterdir() if file.suffix == ".json")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OSError(f"{folder}: cannot be listed: {error.strerror}: are you root?") from None


def parse(file: Path, content: bytes) -> Plan:
    """The plan in a file's content. Raises PlanError."""
    if len(content) > LARGEST:
        raise PlanError(file, "", f"is larger than {LARGEST} bytes")
    try:
        found = json.loads(content.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise PlanError(file, "", f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise PlanError(file, "", "is not a JSON object")
    wanted = [one.name for one in fields(Plan)]
    for key in sorted(found.keys() - set(wanted)):
        raise PlanError(file, ascii(key), "no such key")
    for key in wanted:
        if key not in found:
            raise PlanError(file, key, "is missing")
    values = {}
    for key in wanted:
        try:
            values[key] = READERS[key](found[key])
        except ValueError as error:
            raise PlanError(file, key, str(error)) from None
    plan = Plan(**values)
    if (plan.consistency == "command") != bool(plan.command):
        raise PlanError(file, "command", "goes with the consistency 'command', and only with it")
    if plan.repositories and plan.consistency != "btrfs":
        raise PlanError(file, "repositories", "goes with the consistency 'btrfs', and only with it")
    in_s3 = plan.url.startswith("s3:")
    for key, value in (("s3_access_key", plan.s3_access_key), ("s3_secret_key", plan.s3_secret_key)):
        if in_s3 != bool(value):
            raise PlanError(file, key, "goes with an address that begins with s3:, and only with it")
    if plan.s3_region and not in_s3:
        raise PlanError(file, "s3_region", "goes with an address that begins with s3:, and only with it")
    if in_s3 and plan.may != RESTORE:
        raise PlanError(file, "may", f"must be {RESTORE!r}: a host saves to a vault alone")
    return plan


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, found {type(value).__name__}")
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
        raise ValueError("holds a control character or half of one")
    return value


def _some(value: Any) -> str:
    if not _text(value):
        raise ValueError("is empty")
    return str(value)


def _like(pattern: re.Pattern[str], example: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not pattern.fullmatch(_text(value)):
            raise ValueError(f"must be like {example}, found {value!r}")
        return str(value)

    return read


def _absolute(value: Any) -> str:
    if not ROOT.fullmatch(_text(value)) or value != str(PurePosixPath(value)) or ".." in PurePosixPath(value).parts:
        raise ValueError(f"must be a plain absolute path, found {value!r}")
    return str(value)


def _url(value: Any) -> str:
    text = _some(value)
    if not (text.isascii() and (text.startswith("/") or _is_served(text))):
        raise ValueError(URL_LIKE)
    return text


def _is_served(url: str) -> bool:
    """Whether it can be asked: ValueError is what Python says of ports and names that cannot be."""
    try:
        parts = urlsplit(url.removeprefix("rest:").removeprefix("s3:"))
        right = URL.fullmatch(url) or S3_URL.fullmatch(url)
        return bool(right and parts.port != 0 and (parts.hostname or "").encode("idna"))
    except ValueError:
        return False


def _below(value: Any) -> str:
    path = PurePosixPath(_some(value))
    if path.is_absolute() or str(path) != value or ".." in path.parts:
        raise ValueError(f"must be a plain path below root, found {value!r}")
    return str(value)


def _pattern(value: Any) -> str:
    if ".." in _some(value).split("/") or value in ("/", "!"):
        raise ValueError(f"must be a pattern below root, found {value!r}")
    return str(value)


def _list(read: Callable[[Any], Any], *, least: int = 0) -> Callable[[Any], tuple[Any, ...]]:
    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, found {type(value).__name__}")
        if len(value) < least:
            raise ValueError("is empty")
        return tuple(map(read, value))

    return read_all


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, found {_text(value)!r}")
        return str(value)

    return read


def _key(value: Any) -> str:
    """Goes into a file, between blanks; never shown."""
    if not re.fullmatch(r"[!-~]*", _text(value)):
        raise ValueError("must be of ASCII letters, digits and signs, without blanks")
    return str(value)


def _hours(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 24 * 366:
        raise ValueError("must be a whole number of hours, from 1 to a year")
    return value


_words = _list(_text)
_commands = _list(_list(_text, least=1))
READERS: dict[str, Callable[[Any], Any]] = {
    "name": _like(NAME, "release"),
    "host": _like(HOST, "release-1"),
    "url": _url,
    "password": _some,
    "ca": lambda value: _absolute(value) if _text(value) else "",
    "s3_region": _like(re.compile(r"[\w.-]*", re.ASCII), "us-east-1, or empty"),
    "s3_access_key": _key,
    "s3_secret_key": _key,
    "may": _one_of(MAY),
    "root": _absolute,
    "owner": _like(re.compile(r"[a-z][a-z0-9_-]*|", re.ASCII), "release, or empty"),
    "paths": _list(_below, least=1),
    "exclude": _list(_pattern),
    "consistency": _one_of(CONSISTENCIES),
    "repositories": _list(_below),
    "command": _words,
    "before": _commands,
    "after": _commands,
    "rpo_hours": _hours,
}
