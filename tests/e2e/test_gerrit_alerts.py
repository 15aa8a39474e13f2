"""The alert rules on Gerrit, judged by Prometheus' own promtool."""

import re
from pathlib import Path

import pytest

from lab.go import run
from roles.gerrit.tree.usr.local.lib.mainstay import gerrit_state
from tests.alerting import alerts

RULES = Path(__file__).parents[2] / "roles/gerrit/alerts/mainstay-gerrit.rules.yml"
HOUR = 60
"""In minutes, the step of the series below."""
SERIES = {
    "mainstay_gerrit_up": "1",
    'mainstay_gerrit_tasks{queue="WorkQueue",state="ready"}': "3",
    'mainstay_gerrit_tasks{queue="WorkQueue",state="sleeping"}': "500",
    "mainstay_gerrit_heap_used_bytes": "100",
    "mainstay_gerrit_heap_limit_bytes": "1000",
    "mainstay_gerrit_restarts": "1",
    "mainstay_gerrit_clone_seconds": "0.2",
    "mainstay_gerrit_free_bytes": "500",
    "mainstay_gerrit_size_bytes": "1000",
}
LOOKED = "mainstay_gerrit_state_time_seconds"


def healthy(minutes: int) -> dict[str, str]:
    """All is well, and looked at each minute."""
    return {name: f"{value}x{minutes}" for name, value in SERIES.items()} | {LOOKED: f"0+60x{minutes}"}


def test_the_rules_are_well_formed_and_ask_for_what_there_is(promtool: str) -> None:
    run(promtool, "check", "rules", RULES, cwd=RULES.parent)
    assert {*re.findall(r"mainstay_gerrit_\w+", RULES.read_text())} <= {*gerrit_state.HELP}


def test_none_fires_when_all_is_well(promtool: str, tmp_path: Path) -> None:
    assert alerts(promtool, RULES, tmp_path, healthy(HOUR), HOUR) == set()


@pytest.mark.parametrize(
    ("changed", "fires"),
    [
        ({"mainstay_gerrit_up": "0x60"}, "MainstayGerritDown"),
        ({LOOKED: "0x60"}, "MainstayGerritNotLookedAt"),
        ({'mainstay_gerrit_tasks{queue="WorkQueue",state="ready"}': "200x60"}, "MainstayGerritQueueLong"),
        ({"mainstay_gerrit_heap_used_bytes": "950x60"}, "MainstayGerritHeapFull"),
        ({"mainstay_gerrit_restarts": "0x10 5x50"}, "MainstayGerritRestarts"),
        ({"mainstay_gerrit_clone_seconds": "9x60"}, "MainstayGerritCloneSlow"),
        ({"mainstay_gerrit_free_bytes": "50x60"}, "MainstayGerritVolumeFull"),
    ],
)
def test_each_fires_when_it_should(promtool: str, tmp_path: Path, changed: dict[str, str], fires: str) -> None:
    assert alerts(promtool, RULES, tmp_path, healthy(HOUR) | changed, HOUR) == {fires}
