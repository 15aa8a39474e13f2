"""From what happened to how a drill ended: outcome, reason, next step, and what production would take. Pure."""

from collections.abc import Sequence
from typing import Any

from pyinfra.api.exceptions import PyinfraError

from backup.agent.attempt import Refused
from backup.drills.checks import CheckFailed
from backup.drills.choosing import NothingToRestore
from backup.drills.report import RTO_PHASES, SITE, CheckRun, Estimate, Outcome, Report
from backup.drills.steps import ITSELF, OutOfTime, StepFailed
from backup.reach import Unreachable
from backup.restic_process import ResticError
from backup.trouble import said

LOG_AT_MOST = 6000
"""Characters of what a phase printed that a report keeps: the last, which say why."""
BEFORE = ("", "plan", "host")
"""Phases in which there is nothing yet that could be proved or not."""
LOOK = "`mainstay drill show {id}` has the evidence"
NEXT = {
    Outcome.PASSED: "",
    Outcome.DEGRADED: "See to the reservations; then drill it again: `{again}`.",
    Outcome.OVER_BUDGET: f"Find what takes so long ({LOOK}), or promise less, in roles/{{plan}}/recovery.py.",
    Outcome.COULD_NOT_START: "Mend what stands there, then: `{again}`. Until then nothing is proved.",
    Outcome.ABANDONED: "`mainstay drill sweep`, if anything is left; then `{again}`.",
}
AT = {
    "plan": "The backup itself is amiss: `mainstay backup status {data_set}` says what to do.",
    "deploy": "Would production's deploy fail on a new host as well? " + LOOK + ".",
    "restore": "Can it be restored at all? `mainstay backup verify {data_set} --all`, then docs/runbooks.",
    "start": "The service does not start on what was restored: " + LOOK + ".",
    "checks": "What is named there did not come back as it was: " + LOOK + "; docs/runbooks/drill-failed.md.",
}
AT_FAULT = "A check is blind: mend {by!r} in roles/{plan}/recovery.py, until it finds the fault {fault!r}."

OWN_WORDS = (StepFailed, NothingToRestore, CheckFailed, Refused, Unreachable, PyinfraError)
"""What says all that there is to say: which kind of error it is adds nothing."""


class Died(BaseException):
    """A drill's process is no more, and it wrote no end."""


def judge(
    report: Report,
    error: BaseException | None,
    phase: str,
    caught_by: str,
    *,
    asked: bool = False,
    behind: Sequence[str] = (),
) -> dict[str, Any]:
    """What to write into the report at its end.

    error: what ended it early, in which phase. caught_by: the check that has to find the fault that was planted.
    asked: a certain snapshot was asked for, so that its age proves nothing. behind: reservations that are known.
    """
    caught = None
    reservations = list(behind)
    bad = [run for run in report.checks if run.outcome in ("failed", "timed out")]
    if error is not None:
        outcome, why = _of_error(error, phase)
        if bad and phase == "report" and outcome is Outcome.FAILED and not report.fault:
            # A host that is lost fails its checks, and cannot be asked for its versions either.
            phase, why = "checks", "; ".join([*map(_words, bad), why])
    elif report.fault:
        caught = any(run.name == caught_by and _found(run) for run in report.checks)
        outcome = Outcome.PASSED if caught else Outcome.FAILED
        why = "" if caught else f"the fault {report.fault!r} was planted, and the check {caught_by!r} did not find it"
    elif bad:
        outcome, why = Outcome.FAILED, "; ".join(map(_words, bad))
    elif over := _over(report, asked=asked):
        outcome, why = Outcome.OVER_BUDGET, "; ".join(over)
    else:
        reservations += [f"{run.name} was not judged: {' '.join(run.evidence)}" for run in _not_judged(report)]
        outcome, why = (Outcome.DEGRADED if reservations else Outcome.PASSED), "; ".join(reservations)
    at = phase if error is not None else "checks" if outcome is Outcome.FAILED else ""
    again = "mainstay drill site" if report.data_set == SITE else f"mainstay drill run {report.data_set}"
    plan = report.data_set.partition(":")[2] or "ROLE"
    names = {"id": report.id, "data_set": report.data_set, "plan": plan, "again": again}
    step = AT.get(at, LOOK + ".") if outcome is Outcome.FAILED else NEXT[outcome]
    if caught is False:
        step = AT_FAULT
    return {
        "outcome": outcome.word,
        "phase": at,
        "why": why,
        "next_step": step.format(**names, by=caught_by, fault=report.fault),
        "reservations": tuple(reservations),
        "caught": caught,
        "rto_seconds": rto(report),
        "log": error.log[-LOG_AT_MOST:] if isinstance(error, StepFailed) else "",
    }


def _of_error(error: BaseException, phase: str) -> tuple[Outcome, str]:
    if not isinstance(error, Exception):
        how = "its process died" if isinstance(error, Died) else "it was ended"
        return Outcome.ABANDONED, f"{how} in the phase {phase!r}"
    if isinstance(error, OutOfTime):
        return Outcome.OVER_BUDGET, f"{phase}: {error}"
    outcome = Outcome.COULD_NOT_START if phase in BEFORE and not _is_of_the_backup(error) else Outcome.FAILED
    words = " ".join(str(error).split()) if isinstance(error, OWN_WORDS) else said(error)
    return outcome, f"{phase}: {words}"


def _is_of_the_backup(error: Exception) -> bool:
    """Whether it says that the backup is not as it should be, rather than that it could not be looked at."""
    return isinstance(error, NothingToRestore | ResticError)


def _found(run: CheckRun) -> bool:
    """Whether it saw that something is not right; one that broke saw nothing."""
    return run.outcome == "failed" and not any(told.startswith(ITSELF) for told in run.evidence)


def _words(run: CheckRun) -> str:
    more = f" and {len(run.evidence) - 1} more" if len(run.evidence) > 1 else ""
    return f"{run.name} {run.outcome}: {run.evidence[0] if run.evidence else ''}{more}"


def _not_judged(report: Report) -> list[CheckRun]:
    return [run for run in report.checks if run.outcome == "not judged"]


def _over(report: Report, *, asked: bool) -> list[str]:
    found = [f"{run.name} took {run.seconds:.0f} s of {run.budget_s:.0f} s" for run in report.phases if run.over]
    rpo = report.rpo
    if rpo and not asked and rpo.seconds > rpo.budget_s:
        found.append(f"{rpo.seconds / 3600:.1f} h would have been lost, and {rpo.budget_s / 3600:.0f} h may")
    return found


def rto(report: Report) -> float | None:
    """The recovery time as far as it came; None where nothing was recovered."""
    runs = [run.seconds for run in report.phases if run.name in RTO_PHASES]
    return round(sum(runs), 1) if runs else None


def estimate(report: Report) -> Estimate | None:
    """What all of the data would take, by the throughput of this restore; None where nothing was restored."""
    source, took = report.source, next((run.seconds for run in report.phases if run.name == "restore"), 0)
    if source is None or not source.bytes or not took:
        return None
    throughput = source.bytes / took
    restore = source.of_bytes / throughput
    return Estimate(
        bytes=source.of_bytes,
        bytes_per_second=round(throughput),
        restore_seconds=round(restore, 1),
        total_seconds=round((rto(report) or 0) - took + restore, 1),
    )
