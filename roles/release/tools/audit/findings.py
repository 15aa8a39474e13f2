"""What an audit finds: a closed list of kinds, and a line each."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from roles.release.tools.problems import shown

WRONG, TOLD, UNKNOWN = "critical", "warning", "faint"
"""Severities, by what pages call them: it fails the audit; a person should know; it could not be judged."""
AGAIN = "`release sync`, which brings it from a server that has it, or publish the build again"


class Kind(Enum):
    """What it is called, whether it fails an audit, and what to do."""

    UNREACHABLE = "unreachable", WRONG, "bring back the host, its nginx or its certificate, and audit again"
    AHEAD = "metadata ahead", WRONG, f"roll the channel back at once, or {AGAIN}"
    MISSING = "missing", WRONG, AGAIN
    TRUNCATED = "truncated", WRONG, f"remove it, then {AGAIN}"
    DIFFERING = "differing", WRONG, "who wrote it? A package: remove it; then `release sync`"
    MALFORMED = "malformed", WRONG, "mend it where it comes from: its repository, or the server alone"
    ANSWER = "wrong answer", WRONG, "`deploys/release.py`; if it stays, the role's README: when it breaks"
    RETIRED = "retired, still served", WRONG, "put it into `retired`, then `deploys/release.py`"
    DISAGREE = "servers disagree", WRONG, "find out which is right, remove it on the other, then `release sync`"
    UNUSABLE = "unusable incremental", WRONG, "remove it, and build the one that was meant"
    OWNER = "owner, mode or link", WRONG, "who made it? Plain files of the archive's owner, written by nobody else"
    ROOM = "little room", TOLD, "prune old builds, or raise `size_gb` of the volume"
    ORPHANED = "orphaned", TOLD, "nothing needs it: it may be removed"
    UNASKED = "not asked", UNKNOWN, "audit from a machine that has a way to that address too"
    UNLISTED = "unlisted", UNKNOWN, "push its checksum to the list once it is known"

    def __init__(self, word: str, severity: str, to_do: str) -> None:
        self.word, self.severity, self.to_do = word, severity, to_do


ORDER = {kind: number for number, kind in enumerate(Kind)}


@dataclass(frozen=True)
class Finding:
    """server: its name, or that of a repository; path: as it is asked for, without its first slash.

    channel: all that have to do with it; device, channel: empty where there is none.
    """

    server: str
    device: str
    channel: str
    path: str
    kind: Kind
    found: str
    expected: str

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.device, self.channel)))
        about = ": ".join(filter(None, (self.server, what, self.path)))
        return f"{about}: {self.kind.word}: found {self.found}; expected {self.expected}; to do: {self.kind.to_do}"


def finding(server: str, path: str, kind: Kind, found: object, expected: str, about: tuple[str, str]) -> Finding:
    """Whatever a server or a repository said is made fit for a terminal. about: device and channel."""
    device, channel = about
    return Finding(server, shown(device), shown(channel), shown(path), kind, shown(found), shown(expected))


def settled(found: Iterable[Finding]) -> list[Finding]:
    """Each thing once, the worst first: what is missing is seen from outside and on the disk; what is cut differs."""
    first: dict[tuple[str, str, Kind, str], Finding] = {}
    for one in found:
        why = one.found if one.kind is Kind.UNREACHABLE else ""
        first.setdefault((one.server, one.path, one.kind, why), one)
    cut = {(one.server, one.path) for one in first.values() if one.kind is Kind.TRUNCATED}
    kept = [one for one in first.values() if one.kind is not Kind.DIFFERING or (one.server, one.path) not in cut]
    return sorted(kept, key=lambda one: (ORDER[one.kind], one.server, one.path))
