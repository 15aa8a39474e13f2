"""`verify`: all of the logs in custody, without a device; and whether their signatures are those of a release."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from roles.signing.tools.custody import entries, history, records
from roles.signing.tools.custody.entries import Entry, Incident
from roles.signing.tools.custody.git import Git
from roles.signing.tools.custody.records import Accepted
from roles.signing.tools.errors import INCIDENT

MISCOUNTED = 55
"""Exit code: signatures are not those that were expected."""
SIGNING = frozenset({"sign-pkcs1", "sign-pss", "sign-ecdsa", "sign-eddsa", "sign-hmac", "sign-ssh-certificate"})
EXPECTED = re.compile(r"([a-z0-9-]+)@(0x[0-9a-fA-F]{1,4})=(\d+)")
Signature = tuple[str, int]
"""Command and id of the key."""


class Checked(NamedTuple):
    """One device's log. open: incidents that nobody has accepted; problems: what is wrong with the repository."""

    serial: int
    entries: int
    last: int | None
    drained: str
    signatures: Counter[Signature]
    open: tuple[Incident, ...]
    accepted: int
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "serial": self.serial,
            "entries": self.entries,
            "last": self.last,
            "drained": self.drained,
            "signatures": {f"{command}@{key:#06x}": count for (command, key), count in sorted(self.signatures.items())},
            "incidents": [one._asdict() for one in self.open],
            "accepted": self.accepted,
            "problems": self.problems,
        }


class Verified(NamedTuple):
    """problems: of the repository's history. miscounted: what --expect did not say, in words."""

    logs: tuple[Checked, ...]
    problems: tuple[str, ...]
    miscounted: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        if self.problems or any(one.open or one.problems for one in self.logs):
            return INCIDENT
        return MISCOUNTED if self.miscounted else 0

    def as_json(self) -> dict[str, object]:
        return {
            "exit_code": self.exit_code,
            "logs": [one.as_json() for one in self.logs],
            "problems": self.problems,
            "miscounted": self.miscounted,
        }


def verify(git: Git, expected: dict[Signature, int] | None = None, since: str = "") -> Verified:
    """expected: signatures by command and key, of all devices together, of which there are to be no others.

    since: a commit; signatures before it are not counted. Raises HsmError.
    """
    now = history.lines(git, "HEAD")
    before = history.lines(git, since) if since else {}
    logs = [check(serial, lines, len(before.get(serial, []))) for serial, lines in sorted(now.items())]
    made: Counter[Signature] = sum((one.signatures for one in logs), Counter())
    miscounted = () if expected is None else tuple(_miscounted(made, expected))
    return Verified(tuple(logs), tuple(history.problems(git)), miscounted)


def check(serial: int, lines: Sequence[str], skipped: int = 0) -> Checked:
    """skipped: of so many lines signatures are not counted."""
    last: Entry | None = None
    told: set[str] = set()
    count = accepted = 0
    signatures: Counter[Signature] = Counter()
    pending: list[Incident] = []
    problems: list[str] = []
    for at, text in enumerate(lines):
        try:
            record = records.parse(text)
        except ValueError as error:
            problems.append(f"line {at + 1}: {error}")
            continue
        if isinstance(record, Accepted):
            accepted += len(pending)
            pending = []
        elif isinstance(record, Incident):
            pending.append(record)
            told.add(record.kind)
        else:
            shown = next((one for one in entries.news(last, [record]) if isinstance(one, Incident)), None)
            if record == last:
                problems.append(f"line {at + 1}: entry {record.number} a second time")
            elif shown and shown.kind not in told:
                problems.append(f"line {at + 1}: {shown.told}; no incident was recorded")
            last, count, told = record, count + 1, set()
            if at >= skipped and record.name in SIGNING and record.done:
                signatures[record.name, record.target_key] += 1
    when = _when(lines)
    number = last.number if last else None
    return Checked(serial, count, number, when, signatures, tuple(pending), accepted, tuple(problems))


def expectations(texts: Sequence[str]) -> dict[Signature, int]:
    """Of `sign-pkcs1@0x0101=30`. Raises ValueError."""
    found: dict[Signature, int] = {}
    for text in texts:
        match = EXPECTED.fullmatch(text)
        if not match or match[1] not in SIGNING:
            known = ", ".join(sorted(SIGNING))
            raise ValueError(f"{text!r}: must be COMMAND@KEY=COUNT like sign-pkcs1@0x0101=30, COMMAND one of {known}")
        found[match[1], int(match[2], 16)] = int(match[3])
    return found


def _miscounted(made: Counter[Signature], expected: dict[Signature, int]) -> Iterator[str]:
    for command, key in sorted({*made, *expected}):
        count, wanted = made[command, key], expected.get((command, key), 0)
        if count != wanted:
            yield f"{command} by {key:#06x}: {wanted} expected, {count} in the logs"


def _when(lines: Sequence[str]) -> str:
    """The last drain that brought something."""
    for text in reversed(lines):
        try:
            return records.drained(text)
        except ValueError:
            continue
    return ""
