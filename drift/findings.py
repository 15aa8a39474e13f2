"""What differs, in words for people and for programs. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backup.sizes import clean

UNREACHABLE, DIFFERS = 3, 52
"""Exit codes: something could not be looked at; something is not as it is declared."""
UNSEEN = "not looked at"
"""The kind of a host, or the provider, that could not be asked."""
PROVIDER = "the provider"
"""In a host's place, for what belongs to none."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it is declared, or is and nobody declared it."""

    host: str
    kind: str
    """files, packages, services, users, units, sockets, firewall, kernel, volumes, certificates, provider..."""
    what: str
    """A path, a package, a unit, an account..."""
    why: str
    """How it differs; never content of a secret file."""
    since: float = 0
    """Unix seconds, by its own traces on the host; 0: nobody knows."""
    lines: tuple[str, ...] = ()
    """The lines that differ, as a unified diff, of what is no secret."""
    declared: str = ""
    """The operation that would make it good, `ROLE | NAME`; empty where no deploy touches it."""

    def as_json(self) -> dict[str, Any]:
        since = {"since": moment(self.since)} if self.since else {}
        named = {"host": self.host, "kind": self.kind, "what": clean(self.what), "why": clean(self.why)}
        return named | since | {"lines": [clean(line) for line in self.lines], "declared": self.declared}


@dataclass(frozen=True)
class Drift:
    """What a look at a site came to. looked: at which hosts."""

    looked: Sequence[str]
    findings: Sequence[Finding] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """What was not looked at comes before what differs: of that nobody knows."""
        kinds = {one.kind for one in self.findings}
        return UNREACHABLE if UNSEEN in kinds else DIFFERS if kinds else 0

    def as_json(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code,
            "looked_at": list(self.looked),
            "findings": [one.as_json() for one in self.findings],
        }


def moment(seconds: float) -> str:
    """In UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def by_host(findings: Iterable[Finding]) -> Mapping[str, list[Finding]]:
    """In the order in which they come."""
    found: dict[str, list[Finding]] = {}
    for one in findings:
        found.setdefault(one.host, []).append(one)
    return found
