"""How a drill ends: outcome, exit code, reason and next step, of whatever may have happened in whichever phase."""

from typing import Any

import pytest

from backup.drills.choosing import NothingToRestore
from backup.drills.report import PHASES, CheckRun, Outcome, Report, Rpo, outcome
from backup.drills.steps import ITSELF, OutOfTime, StepFailed
from backup.drills.verdict import LOG_AT_MOST, Died, estimate, judge, rto
from backup.reach import Unreachable
from backup.restic_process import WrongPassword
from inventories.errors import InputError
from tests.unit.drills import TOOK_S, check, phases, report, source

BAD = check("packages", outcome="failed", evidence=("bonito: another SHA-256", "coral: missing"))
LATE = check("zips", outcome="timed out", evidence=("it did not end within 600 s",))
OPEN = check("packages", outcome="not judged", evidence=("no list of checksums",))


def end(
    error: BaseException | None = None, phase: str = "", checks: tuple[CheckRun, ...] = (), **changes: Any
) -> dict[str, Any]:
    how = {name: changes.pop(name) for name in ("asked", "behind") if name in changes}
    return judge(running(checks=checks or (check(),), **changes), error, phase, "packages", **how)


def running(**changes: Any) -> Report:
    return report(0, **({"ended": None, "outcome": None} | changes))


def test_each_outcome_has_its_word_and_exit_code() -> None:
    codes = {one.word: one.code for one in Outcome}
    assert codes == {
        "passed": 0,
        "degraded": 40,
        "failed": 41,
        "over budget": 42,
        "could not start": 43,
        "abandoned": 44,
    }
    assert all(outcome(word).word == word for word in codes)


def test_all_well() -> None:
    result = end()
    assert (result["outcome"], result["phase"], result["why"], result["next_step"]) == ("passed", "", "", "")
    assert (result["reservations"], result["caught"], result["log"]) == ((), None, "")


def test_a_check_that_failed_or_did_not_end_is_named() -> None:
    result = end(checks=(check("files"), BAD, LATE))
    assert (result["outcome"], result["phase"]) == ("failed", "checks")
    assert result["why"] == (
        "packages failed: bonito: another SHA-256 and 1 more; zips timed out: it did not end within 600 s"
    )
    assert "drill-failed.md" in result["next_step"]


def test_a_host_that_was_lost_at_its_checks_failed_there_and_not_at_the_report() -> None:
    result = end(StepFailed("release-1 cannot be reached"), "report", checks=(check("files"), BAD))
    assert (result["outcome"], result["phase"]) == ("failed", "checks")
    assert result["why"] == "packages failed: bonito: another SHA-256 and 1 more; report: release-1 cannot be reached"
    assert end(StepFailed("release-1 cannot be reached"), "report")["phase"] == "report"


@pytest.mark.parametrize("phase", PHASES)
def test_what_goes_wrong_before_there_is_a_host_proves_nothing(phase: str) -> None:
    result = end(StepFailed("no way", "all that it said"), phase)
    expected = "could not start" if phase in ("plan", "host") else "failed"
    assert (result["outcome"], result["phase"], result["why"]) == (expected, phase, f"{phase}: no way")
    assert result["log"] == "all that it said"
    assert result["next_step"]
    assert "{" not in result["next_step"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NothingToRestore("the vault lacks the newest complete backup, 1234abcd"), "failed"),
        (WrongPassword("snapshots", 12, "wrong password"), "failed"),
        (Unreachable("vault-1: no answer within 60 s"), "could not start"),
        (InputError("secrets.age", "drill_api_key", "no such secret"), "could not start"),
        (OutOfTime("its time is over"), "over budget"),
        (OSError(28, "No space left on device"), "could not start"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_what_is_wrong_with_the_plan_is_the_backups_fault_or_the_worlds(error: Exception, expected: str) -> None:
    result = end(error, "plan")
    assert result["outcome"] == expected
    assert result["why"] == f"plan: {' '.join(str(error).split())}"
    if expected == "failed":
        assert result["next_step"] == (
            "The backup itself is amiss: `mainstay backup status release-1:release` says what to do."
        )


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("error", "how"), [(Died(), "its process died"), (KeyboardInterrupt(), "it was ended")])
def test_one_that_was_ended_or_died_is_abandoned_wherever_it_was(error: BaseException, how: str, phase: str) -> None:
    result = end(error, phase)
    assert (result["outcome"], result["phase"], result["why"]) == ("abandoned", phase, f"{how} in the phase {phase!r}")
    assert "mainstay drill sweep" in result["next_step"]


def test_one_that_has_no_time_left_is_over_its_budget() -> None:
    result = end(OutOfTime("its time is over"), "restore")
    assert (result["outcome"], result["phase"], result["why"]) == (
        "over budget",
        "restore",
        "restore: its time is over",
    )


def test_a_phase_that_took_longer_than_promised() -> None:
    runs = [run.model_copy(update={"seconds": 2000.0}) if run.name == "deploy" else run for run in phases(0)]
    result = end(phases=tuple(runs))
    assert (result["outcome"], result["why"]) == ("over budget", "deploy took 2000 s of 900 s")
    assert "roles/release/recovery.py" in result["next_step"]


def test_a_backup_that_was_older_than_promised_unless_it_was_asked_for() -> None:
    old = Rpo(seconds=3 * 3600, budget_s=2 * 3600)
    assert end(rpo=old)["why"] == "3.0 h would have been lost, and 2 h may"
    assert end(rpo=old)["outcome"] == "over budget"
    assert end(rpo=old, asked=True)["outcome"] == "passed"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"behind": ["host release-1 (i1) is still there"]}, "host release-1 (i1) is still there"),
        ({"checks": (check("files"), OPEN)}, "packages was not judged: no list of checksums"),
    ],
    ids=["left", "not judged"],
)
def test_one_that_passed_with_a_reservation_is_degraded_and_still_a_proof(changes: dict[str, Any], why: str) -> None:
    result = end(**changes)
    assert (result["outcome"], result["why"], result["reservations"]) == ("degraded", why, (why,))
    assert running().model_copy(update=result).proved
    assert "mainstay drill run release-1:release" in result["next_step"]


def test_what_was_left_is_told_of_one_that_failed_too() -> None:
    result = end(StepFailed("x"), "deploy", behind=["host release-1 (i1) is still there"])
    assert (result["outcome"], result["reservations"]) == ("failed", ("host release-1 (i1) is still there",))


def test_a_fault_that_the_right_check_found_is_well_and_proves_no_backup() -> None:
    result = end(checks=(check("files"), BAD), fault="flipped byte")
    assert (result["outcome"], result["caught"], result["why"], result["next_step"]) == ("passed", True, "", "")
    assert not running(fault="flipped byte").model_copy(update=result).proved


@pytest.mark.parametrize(
    "run",
    [
        check("packages"),
        check("packages", outcome="timed out"),
        OPEN,
        check("files", outcome="failed", evidence=("a file is missing",)),
        check("packages", outcome="failed", evidence=(f"{ITSELF}KeyError: 'x'",)),
    ],
    ids=["passed", "timed out", "not judged", "another check's", "it broke"],
)
def test_a_fault_that_the_right_check_did_not_find(run: CheckRun) -> None:
    result = end(checks=(run,), fault="flipped byte")
    assert (result["outcome"], result["phase"], result["caught"]) == ("failed", "checks", False)
    assert result["why"] == "the fault 'flipped byte' was planted, and the check 'packages' did not find it"
    assert result["next_step"] == (
        "A check is blind: mend 'packages' in roles/release/recovery.py, until it finds the fault 'flipped byte'."
    )


def test_a_fault_that_was_never_planted_says_nothing_of_the_checks() -> None:
    result = end(StepFailed("x"), "restore", fault="flipped byte")
    assert (result["outcome"], result["caught"]) == ("failed", None)


def test_only_the_end_of_a_long_log_is_kept() -> None:
    assert end(StepFailed("x", "a" * LOG_AT_MOST + "end"), "deploy")["log"] == "a" * (LOG_AT_MOST - 3) + "end"


def test_the_recovery_time_is_what_a_real_recovery_takes_as_far_as_it_came() -> None:
    assert rto(running()) == pytest.approx(sum(TOOK_S.values()) - TOOK_S["plan"], abs=0.1)
    assert rto(running(phases=())) is None


def test_what_all_of_production_would_take() -> None:
    found = estimate(running(source=source(0, bytes=1000, of_bytes=5000)))
    assert found
    assert found.bytes == 5000
    assert found.restore_seconds == pytest.approx(TOOK_S["restore"] * 5, rel=0.01)
    assert found.total_seconds == pytest.approx((rto(running()) or 0) + TOOK_S["restore"] * 4, rel=0.01)
    assert estimate(running(source=None)) is None
    assert estimate(running(source=source(0, bytes=0))) is None
