"""The alert rules on a mirror's runs, judged by Prometheus' own promtool."""

import re
from pathlib import Path

import pytest

from lab.go import run
from roles.gitmirror.fetching.told import HELP
from tests.alerting import alerts

RULES = Path(__file__).parents[2] / "roles/gitmirror/alerts/mainstay-gitmirror.rules.yml"
DAY = 24 * 60
"""In minutes, the step of the series below."""
COMPLETE, RAN = "mainstay_gitmirror_complete_time_seconds", "mainstay_gitmirror_run_time_seconds"
PROBLEM, GONE = "mainstay_gitmirror_problem", "mainstay_gitmirror_gone"
WELL = {COMPLETE: f"0+60x{2 * DAY}", RAN: f"0+60x{2 * DAY}", PROBLEM: f"0x{2 * DAY}", GONE: f"0x{2 * DAY}"}
STOPPED = f"0x{2 * DAY}"


def test_the_rules_are_well_formed_and_ask_for_what_there_is(promtool: str) -> None:
    run(promtool, "check", "rules", RULES, cwd=RULES.parent)
    assert {*re.findall(r"mainstay_gitmirror_\w+", RULES.read_text())} <= {*HELP}


@pytest.mark.parametrize(
    ("changed", "fires"),
    [
        ({}, set()),
        ({COMPLETE: STOPPED}, {"MainstayMirrorBehind"}),
        ({COMPLETE: STOPPED, RAN: STOPPED}, {"MainstayMirrorBehind", "MainstayMirrorStale"}),
        ({PROBLEM: f"1x{2 * DAY}"}, {"MainstayMirrorDistrusts"}),
        ({GONE: f"2x{2 * DAY}"}, {"MainstayMirrorGone"}),
    ],
)
def test_each_fires_for_what_it_is_of_and_for_nothing_else(
    promtool: str, tmp_path: Path, changed: dict[str, str], fires: set[str]
) -> None:
    assert alerts(promtool, RULES, tmp_path, WELL | changed, 2 * DAY) == fires
