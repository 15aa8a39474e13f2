"""A drill's report, as it is kept (report.json, schema 1) and shown. Pure data; times in UTC, durations in seconds."""

from collections.abc import Sequence
from enum import Enum
from typing import Literal

from pydantic import AwareDatetime, ConfigDict

from inventories.typed import Typed

SCHEMA = 1
SITE = "site"
"""In the place of a data set, in the report of a drill of the whole site."""
PHASES = ("plan", "host", "packages", "deploy", "restore", "start", "checks", "report", "destroy")
REHEARSAL = ("rehearsal", "checks after it")
"""The phases of a change that is rehearsed, after the checks."""
RTO_PHASES = ("host", "packages", "deploy", "restore", "start", "checks")
"""Those that a real recovery has too: the sum is the recovery time."""


class Outcome(Enum):
    """How a drill ended: the word, the exit code of `mainstay drill`, and what it means."""

    PASSED = "passed", 0, "the backup was restored, the service on it worked"
    DEGRADED = "degraded", 40, "it was proved, but not as it should be: the reservations say what"
    FAILED = "failed", 41, "the data or the service did not come back as it was"
    OVER_BUDGET = "over budget", 42, "it came back, but later or older than was promised"
    COULD_NOT_START = "could not start", 43, "nothing was proved, as there was no host to prove it on"
    ABANDONED = "abandoned", 44, "it was ended, or died, before it had an outcome"

    word: str
    code: int
    meaning: str

    def __init__(self, word: str, code: int, meaning: str) -> None:
        self.word, self.code, self.meaning = word, code, meaning


Word = Literal["passed", "degraded", "failed", "over budget", "could not start", "abandoned"]
CheckWord = Literal["passed", "failed", "timed out", "not judged"]


def outcome(word: str) -> Outcome:
    """The outcome that a report names."""
    return next(one for one in Outcome if one.word == word)


class Part(Typed):
    """Base of a report and its parts: each number is one."""

    model_config = ConfigDict(allow_inf_nan=False, use_attribute_docstrings=True)


class PhaseRun(Part):
    """One phase, as far as it came."""

    name: str
    begun: AwareDatetime
    seconds: float
    budget_s: float | None = None
    ok: bool = True
    told: tuple[str, ...] = ()
    """What happened, in words."""

    @property
    def over(self) -> bool:
        return self.budget_s is not None and self.seconds > self.budget_s


class CheckRun(Part):
    """One check."""

    name: str
    proves: str
    compares: str
    outcome: CheckWord
    seconds: float
    evidence: tuple[str, ...] = ()
    """What it saw; of one that failed, what is not right."""
    covered: int = 0
    of: int = 0
    within: int = 1
    """It looks at `covered` of `of` things, and at all of them within so many drills."""


class Source(Part):
    """What was restored, and from where."""

    store: Literal["vault", "copy"]
    snapshot: str
    """Its id there."""
    original: str
    """The id by the ledger: another one where the snapshot was copied."""
    taken: AwareDatetime
    """When the backup began."""
    behind: int = 0
    """How many complete backups are newer, by the ledger."""
    files: int
    bytes: int
    of_files: int
    of_bytes: int
    """All that the snapshot holds; more than was restored where a part is restored at a time."""
    part: int = 1
    parts: int = 1


class Rpo(Part):
    """How much would have been lost, had the source been lost when the drill began."""

    seconds: float
    """From the backup's begin to the drill's."""
    budget_s: float
    newest_restored: AwareDatetime | None = None
    """The newest change among what came back."""
    newest_saved: AwareDatetime | None = None
    """The newest change that the newest snapshot lists: what the source had then."""


class Estimate(Part):
    """What restoring all of production would take, from the throughput measured. An estimate, not a measurement."""

    bytes: int
    bytes_per_second: float
    restore_seconds: float
    total_seconds: float


class Made(Part):
    """Something that was made at the provider for the drill. gone: when it was seen to be no more."""

    kind: Literal["host", "volume", "network", "firewall", "zone", "key"]
    name: str
    id: str = ""
    site: str = ""
    """The drill's own site, whose name it bears."""
    gb: int = 0
    gone: AwareDatetime | None = None


class Report(Part):
    """One drill of one data set, or (data_set "site") of the whole site."""

    schema_version: Literal[1] = 1
    id: str
    site: str
    data_set: str
    """HOST:PLAN."""
    who: str
    """The admin, or `control` for the control host's timer."""
    begun: AwareDatetime
    ended: AwareDatetime | None = None
    """None: it runs, or died."""
    expires: AwareDatetime
    """When what it made may be removed by anybody."""
    outcome: Word | None = None
    phase: str = ""
    """Where it failed, or is."""
    why: str = ""
    next_step: str = ""
    reservations: tuple[str, ...] = ()
    """Of a degraded one: why."""
    turn: int = 0
    """What samples and parts rotate by; the next one after a proof, the same again after any other drill."""
    fault: str = ""
    """The fault that was planted; "" for a drill of the backup itself."""
    caught: bool | None = None
    """Whether the right check found it."""
    rehearsed: str = ""
    """The change that was rehearsed on what was restored, such as the version of an upgrade."""
    downtime_s: float | None = None
    """How long people would have had to wait for it."""
    phases: tuple[PhaseRun, ...] = ()
    source: Source | None = None
    rpo: Rpo | None = None
    rto_seconds: float | None = None
    rto_budget_s: float | None = None
    estimate: Estimate | None = None
    checks: tuple[CheckRun, ...] = ()
    made: tuple[Made, ...] = ()
    cost_usd: float = 0
    """What the provider charges for the hours it took; begun hours count."""
    versions: dict[str, str] = {}
    log: str = ""
    """The end of what the phase that failed said, without secrets."""

    @property
    def proved(self) -> bool:
        """Whether it counts as proof of the backup. One with a planted fault proves the checks, not the backup."""
        return self.outcome in ("passed", "degraded") and not self.fault

    @property
    def left(self) -> tuple[Made, ...]:
        """What was not seen to be gone."""
        return tuple(one for one in self.made if one.gone is None)


def proof(found: Sequence[Report]) -> Report | None:
    """The newest that counts as proof. found: newest first."""
    return next((one for one in found if one.proved), None)
