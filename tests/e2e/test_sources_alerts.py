"""The alert rules on audits of sources, judged by Prometheus' own promtool."""

import re
from pathlib import Path

import pytest

from lab.go import run
from roles.gerrit.tools.sources.metrics import HELP
from tests.alerting import alerts

RULES = Path(__file__).parents[2] / "roles/gerrit/alerts/mainstay-sources.rules.yml"
DAY = 24 * 60
"""In minutes, the step of the series below."""
OF = 'manifest="https://h/platform/manifest"'
WRONG = f'mainstay_sources_audit_findings{{{OF},finding="missing revision",severity="critical"}}'
UNKNOWN = f'mainstay_sources_audit_findings{{{OF},finding="not asked",severity="faint"}}'
UNREAD = f"mainstay_sources_audit_oldest_unread_time_seconds{{{OF}}}"
AUDITED = "mainstay_sources_audit_time_seconds"


def healthy(minutes: int) -> dict[str, str]:
    """All is well, and audited each minute."""
    return {WRONG: f"0x{minutes}", UNKNOWN: f"3x{minutes}", UNREAD: f"0+60x{minutes}", AUDITED: f"0+60x{minutes}"}


def test_the_rules_are_well_formed_and_ask_for_what_there_is(promtool: str) -> None:
    run(promtool, "check", "rules", RULES, cwd=RULES.parent)
    assert {*re.findall(r"mainstay_sources_\w+", RULES.read_text())} <= {*HELP}


def test_none_fires_when_all_is_well(promtool: str, tmp_path: Path) -> None:
    assert alerts(promtool, RULES, tmp_path, healthy(DAY), DAY) == set()


@pytest.mark.parametrize(
    ("changed", "minutes", "fires"),
    [
        ({WRONG: "0x5 2x60"}, 60, "MainstaySourcesWrong"),
        ({UNREAD: f"0x{32 * DAY}"}, 32 * DAY, "MainstaySourcesUnread"),
        ({AUDITED: f"0x{2 * DAY}"}, 2 * DAY, "MainstaySourcesAuditStale"),
    ],
)
def test_each_fires_when_it_should(
    promtool: str, tmp_path: Path, changed: dict[str, str], minutes: int, fires: str
) -> None:
    assert alerts(promtool, RULES, tmp_path, healthy(minutes) | changed, minutes) == {fires}
