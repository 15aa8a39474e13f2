"""Lines of a log in custody, and the files that hold them.

`SERIAL/000001.jsonl`, `SERIAL/000002.jsonl`, ...: at most 250 lines each, so that a commit stays small; lines are only
ever added to the last one. A line is one JSON object, of three kinds:

    {"entry": 7, "command": "sign-pkcs1", "length": 34, "session_key": "0x0001", "target_key": "0x0101",
     "second_key": "0xffff", "result": "done", "tick": 5012, "digest": "63a3...", "drained": "2026-11-27T10:00:00Z"}
    {"incident": "gap", "told": "entry 8 was to come, and 31 came: ...", "drained": "2026-11-27T10:05:00Z"}
    {"accepted": "the spare was reset by hand on Monday", "by": "alice", "drained": "2026-11-27T11:00:00Z"}

An incident stands before the entry that shows it; who accepts accepts all that stand before. `drained` is this
machine's clock, and proves nothing: what the device vouches for is the entries' order, by their digests.
"""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from roles.signing.tools.custody.entries import KINDS, Entry, Incident

LINES = 250
"""Of a file."""
NAME = re.compile(r"(\d{1,10})/(\d{6})\.jsonl")


class Accepted(NamedTuple):
    """A person has looked into all incidents so far."""

    why: str
    by: str


Record = Entry | Incident | Accepted


def line(record: Record, drained: str) -> str:
    """drained: when, as a text."""
    if isinstance(record, Entry):
        told = record.as_json()
    elif isinstance(record, Incident):
        told = {"incident": record.kind, "told": record.told}
    else:
        told = {"accepted": record.why, "by": record.by}
    return json.dumps(told | {"drained": drained}, ensure_ascii=False) + "\n"


def parse(text: str) -> Record:
    """Raises ValueError where it is no line of a log."""
    told = json.loads(text)
    try:
        match told:
            case {"entry": _}:
                return Entry.from_json(told)
            case {"incident": str(kind), "told": str(words)} if kind in KINDS:
                return Incident(kind, words)
            case {"accepted": str(why), "by": str(by)}:
                return Accepted(why, by)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no entry of a log: {error}") from error
    raise ValueError("neither an entry, an incident nor who accepted one")


def drained(text: str) -> str:
    """When, of a line."""
    return str(json.loads(text).get("drained", ""))


def name(serial: int, number: int) -> str:
    """Of a file, relative to the repository."""
    return f"{serial}/{number:06}.jsonl"


def last_entry(lines: Iterable[str]) -> Entry | None:
    """Raises ValueError."""
    found = None
    for text in lines:
        record = parse(text)
        found = record if isinstance(record, Entry) else found
    return found
