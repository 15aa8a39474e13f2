"""Reports of drills as the tests need them, at hours counted from one moment."""

from typing import Any

from backup.drills.checks import BUDGET_S
from backup.drills.report import PHASES, CheckRun, Estimate, Made, PhaseRun, Report, Rpo, Source
from tests.unit.ledgers import at, hours, identity

DATA_SET = "release-1:release"
TOOK_S = {"plan": 2, "host": 41, "packages": 73, "deploy": 95, "restore": 412.4, "start": 6, "checks": 88}


def phases(begun: float, failed: str = "") -> tuple[PhaseRun, ...]:
    """As they follow one another, to the one that failed."""
    found, since = [], at(begun)
    for name in PHASES:
        took = TOOK_S.get(name, 3.0)
        ok = name != failed
        told = (f"{name} went as it does",) if ok else ("restic restore: exit code 1",)
        found.append(PhaseRun(name=name, begun=since, seconds=took, budget_s=BUDGET_S.get(name), ok=ok, told=told))
        since += hours(took / 3600)
        if not ok:
            break
    return tuple(found)


def check(name: str = "packages", **changes: Any) -> CheckRun:
    known: dict[str, Any] = {
        "name": name,
        "proves": "every package that a phone is offered has the bytes that were released",
        "compares": "the list of checksums, which is kept apart",
        "outcome": "passed",
        "seconds": 31.2,
        "evidence": ("42 packages, 31.4 GiB, all as released",),
        "covered": 42,
        "of": 504,
        "within": 12,
    }
    return CheckRun(**(known | changes))


def source(begun: float, **changes: Any) -> Source:
    known: dict[str, Any] = {
        "store": "vault",
        "snapshot": identity(begun - 1),
        "original": identity(begun - 1),
        "taken": at(begun - 1),
        "files": 1200,
        "bytes": 31 << 30,
        "of_files": 14_400,
        "of_bytes": 372 << 30,
        "part": int(begun // 24) % 12 + 1,
        "parts": 12,
    }
    return Source(**(known | changes))


def report(begun: float, **changes: Any) -> Report:
    """A drill that passed and began at that hour, but for the changes."""
    known: dict[str, Any] = {
        "id": f"{at(begun):%Y%m%dT%H%M%S}-release",
        "site": "prod",
        "data_set": DATA_SET,
        "who": "control",
        "begun": at(begun),
        "ended": at(begun + 0.25),
        "expires": at(begun + 6),
        "outcome": "passed",
        "phases": phases(begun),
        "source": source(begun),
        "rpo": Rpo(seconds=1500, budget_s=7200, newest_restored=at(begun - 2), newest_saved=at(begun - 1)),
        "rto_seconds": 715.4,
        "rto_budget_s": 3600,
        "estimate": Estimate(bytes=372 << 30, bytes_per_second=8e7, restore_seconds=4993, total_seconds=5300),
        "checks": (check(), check("index", evidence=("the newest build of 9 devices",), covered=0, of=0)),
        "made": (Made(kind="host", name="drill-release-1", id="42", gone=at(begun + 0.25)),),
        "cost_usd": 0.02,
        "versions": {"mainstay": "0.1.0", "restic": "0.18.0"},
    }
    return Report(**(known | changes))


def failed(begun: float, **changes: Any) -> Report:
    """One whose restore failed."""
    known: dict[str, Any] = {
        "outcome": "failed",
        "phase": "restore",
        "why": "the vault lists no snapshot that can be read",
        "next_step": "docs/runbooks/verification-failed.md, then `mainstay drill run release-1:release`.",
        "phases": phases(begun, "restore"),
        "checks": (),
        "rto_seconds": None,
        "log": "repository 1a2b3c opened\nFatal: ciphertext verification failed\n",
    }
    return report(begun, **(known | changes))
