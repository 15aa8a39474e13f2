"""An attempt, or what the control side did to a data set: a line of a ledger (backup/ledger.py).

Standard library of Python 3.11 only: the agent on the hosts and the control side share it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

KINDS = ("backup", "verify", "restore", "check", "copy", "retain", "collect", "accept")
"""The first three are a host's; the others the control side's."""
OUTCOMES = ("started", "ok", "incomplete", "failed", "interrupted", "damaged")
"""started: written before the work: a killed run leaves a trace. damaged: a check that ended, and found errors."""
UNREAD_AT_MOST = 100
WHY_AT_MOST = 4500
"""Characters of why a path could not be read: the longest path that Linux has, and some words."""
LINE_AT_MOST = 8 << 20
"""Bytes. All that can be unread fits, each byte of it as a JSON escape; and the ids of 100,000 snapshots."""
NUMBERS_BELOW = 1 << 63
YEARS = range(1970, 2200)
"""From a clock that was never set, to what can still be reckoned with."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. Times are UTC, to the second; sizes in bytes. seq and after are given by `append`."""

    host: str
    plan: str
    kind: str
    start: datetime
    end: datetime | None = None
    """None while it runs."""
    outcome: str
    snapshot: str = ""
    files: int = 0
    bytes: int = 0
    bytes_added: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    """Paths that could not be read, each with why; `append` keeps the first 100, and of each reason what is needed."""
    unread_count: int = 0
    error: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seq: int = 0
    after: str = ""

    # Only in the control side's own entries; a line has those that are not empty.
    store: str = ""
    """Which repository it was about: vault, or copy for the second one; accept: empty for both."""
    part: tuple[int, int] | None = None
    """check: n of t, as `restic check --read-data-subset=n/t` read it."""
    ids: tuple[str, ...] = ()
    """retain: the snapshots to be removed, in its started entry too. copy: those copied. accept: those that an admin
    looked at and vouches for as they are, there or not."""
    upto: int = 0
    """collect: the number of the host's newest line that was there by then."""
    head: str = ""
    """collect: the hash of that line."""
    who: str = ""
    """accept: the admin."""
    why: str = ""
    """accept: what the admin says of it."""

    @property
    def written(self) -> datetime:
        """When the writer says that it wrote this."""
        return self.end or self.start


ONLY_CONTROL = ("store", "part", "ids", "upto", "head", "who", "why")
NAMES = frozenset(one.name for one in fields(Entry))
NEEDED = NAMES - set(ONLY_CONTROL)
NUMBERS = ("seq", "files", "bytes", "bytes_added", "unread_count", "upto")
WORDS = ("host", "plan", "kind", "start", "end", "outcome", "snapshot", "error", "after", "store", "head", "who", "why")
TYPES: dict[str, type] = {
    **dict.fromkeys(NUMBERS, int),
    **dict.fromkeys(WORDS, str),
    **dict.fromkeys(("unread", "part", "ids"), list),
    "versions": dict,
}


def digest(line: bytes) -> str:
    """What the next line's `after` must say."""
    return hashlib.sha256(line).hexdigest()


def render(entry: Entry) -> bytes:
    """The line of an entry, without its end. Names that are not UTF-8 survive (as JSON escapes of lone surrogates)."""
    content = asdict(entry)
    for name in ONLY_CONTROL:
        if not content[name]:
            del content[name]
    content["start"], content["end"] = _said(entry.start), _said(entry.end) if entry.end else ""
    return json.dumps(content, sort_keys=True).encode("ascii")


def parse(line: bytes) -> Entry:
    """The entry of a line; keys that a newer version added are passed over. Raises ValueError saying what is wrong.

    A host that somebody broke into may say anything: whoever reads what this returns can reckon with its times and
    numbers.
    """
    if len(line) > LINE_AT_MOST:
        raise ValueError(f"is longer than {LINE_AT_MOST} bytes")
    try:
        content = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if type(content) is not dict:
        raise ValueError("is not a JSON object")
    if not content.keys() >= NEEDED:
        raise ValueError(f"lacks {', '.join(sorted(NEEDED - content.keys()))}")
    known = content if content.keys() <= NAMES else {name: content[name] for name in NAMES & content.keys()}
    for name, value in known.items():
        if type(value) is not TYPES[name] or (type(value) is int and not 0 <= value < NUMBERS_BELOW):
            raise ValueError(f"{name} has a value of another type")
    if known["kind"] not in KINDS or known["outcome"] not in OUTCOMES:
        raise ValueError(f"kind {known['kind']!r} or outcome {known['outcome']!r} is unknown")
    try:
        known["start"] = _time(known["start"])
        known["end"] = _time(known["end"]) if known["end"] else None
        known["unread"] = tuple([(_word(path), _word(why)) for path, why in known["unread"]])
        if any(type(version) is not str for version in known["versions"].values()):
            raise ValueError("versions")
        if "ids" in known:
            known["ids"] = tuple([_word(one) for one in known["ids"]])
        if "part" in known:
            known["part"] = _part(*known["part"])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"has a value of another type: {error}") from None
    return Entry(**known)


def _said(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(said: str) -> datetime:
    time = datetime.fromisoformat(said)
    if time.tzinfo is None:
        raise ValueError(f"{said} has no time zone")
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    if time.year not in YEARS:
        raise ValueError(f"{said} is no time that a backup can have")
    return time


def _word(said: Any) -> str:
    if type(said) is not str:
        raise ValueError("a list of words has something else in it")
    return said


def _part(n: Any, t: Any) -> tuple[int, int]:
    if not (type(n) is type(t) is int and 0 < n <= t < NUMBERS_BELOW):
        raise ValueError("part")
    return n, t
