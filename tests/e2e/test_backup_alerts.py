"""The alert rules, judged by Prometheus' own promtool: each fires when it should, and none when all is well."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backup.metrics import HELP, render
from backup.status import Row
from lab.go import run
from tests.unit.ledgers import at
from tests.unit.test_status import NOW, good, look, snapshots

RULES = Path(__file__).parents[2] / "backup/alerts/mainstay-backup.rules.yml"
DATA_SET = 'host="release-1",plan="release"'
NAME = 'name="release.example.org"'
LABELS = {"host": "release-1", "plan": "release"}
HOUR, DAY = 60, 24 * 60
"""In minutes, the step of the series below."""
STALE = "3h 11m 0s"
"""How old the status is when the test looks."""

Expected = dict[str, list[dict[str, str]]]
"""By alert, the labels it fires with."""


def annotations(alert: str, labels: dict[str, str]) -> dict[str, str]:
    """What the rule says, with the labels put in as a template would."""
    rule = RULES.read_text().split(f"alert: {alert}\n")[1].split("- alert:")[0]
    said = dict(re.findall(r'(summary|description|runbook): "?(.*?)"?$', rule, re.MULTILINE))
    for name, value in {f"$labels.{label}": word for label, word in labels.items()}.items():
        said = {key: words.replace(f"{{{{ {name} }}}}", value) for key, words in said.items()}
    return {key: words.replace("{{ $value | humanizeDuration }}", STALE) for key, words in said.items()}


def judge(
    promtool: str, folder: Path, series: dict[str, str], minute: int, expected: Expected, step_minutes: int = 1
) -> None:
    """Feeds series (a value a step) to the rules, and demands exactly these alerts at that minute, of all there are."""
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert set(expected) <= set(alerts)
    checks: list[dict[str, Any]] = [
        {
            "eval_time": f"{minute}m",
            "alertname": name,
            "exp_alerts": [
                {"exp_labels": labels, "exp_annotations": annotations(name, labels)}
                for labels in expected.get(name, [])
            ],
        }
        for name in alerts
    ]
    tests = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{step_minutes}m",
        "tests": [
            {
                "interval": f"{step_minutes}m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": checks,
            }
        ],
    }
    (folder / "test.yml").write_text(json.dumps(tests))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def healthy(minutes: int) -> dict[str, str]:
    """All that is written of one data set, looked at and saved anew each minute, for so long."""
    return {
        "mainstay_backup_status_time_seconds": f"0+60x{minutes}",
        f"mainstay_backup_last_good_time_seconds{{{DATA_SET}}}": f"0+60x{minutes}",
        f"mainstay_backup_rpo_seconds{{{DATA_SET}}}": f"86400x{minutes}",
        f"mainstay_backup_oldest_unread_time_seconds{{{DATA_SET}}}": f"0+60x{minutes}",
        f'mainstay_backup_finding{{{DATA_SET},finding="snapshot gone",severity="critical"}}': f"0x{minutes}",
        f'mainstay_backup_finding{{{DATA_SET},finding="incomplete",severity="warning"}}': f"0x{minutes}",
        f"mainstay_certificate_not_after_time_seconds{{{DATA_SET},{NAME}}}": f"{90 * 86400}x{minutes}",
        f"mainstay_drill_last_proved_time_seconds{{{DATA_SET}}}": f"0+60x{minutes}",
        f"mainstay_drill_within_seconds{{{DATA_SET}}}": f"{7 * 86400}x{minutes}",
        f"mainstay_drill_rto_seconds{{{DATA_SET}}}": f"3600x{minutes}",
        f"mainstay_drill_rto_budget_seconds{{{DATA_SET}}}": f"3600x{minutes}",
        f"mainstay_drill_rpo_seconds{{{DATA_SET}}}": f"7200x{minutes}",
        f"mainstay_drill_rpo_budget_seconds{{{DATA_SET}}}": f"7200x{minutes}",
    }


def test_the_rules_are_well_formed(promtool: str) -> None:
    run(promtool, "check", "rules", RULES, cwd=RULES.parent)


def test_nothing_fires_when_all_is_well(promtool: str, tmp_path: Path) -> None:
    judge(promtool, tmp_path, healthy(2 * DAY), 2 * DAY, {})


@pytest.mark.parametrize(
    ("finding", "severity", "alert", "after"),
    [
        ("snapshot gone", "critical", "MainstayBackupCritical", 10),
        ("incomplete", "warning", "MainstayBackupWarning", HOUR),
    ],
)
def test_a_finding_fires_once_it_lasts(
    promtool: str, tmp_path: Path, finding: str, severity: str, alert: str, after: int
) -> None:
    name = f'mainstay_backup_finding{{{DATA_SET},finding="{finding}",severity="{severity}"}}'
    series = healthy(3 * HOUR) | {name: f"0x9 1x{3 * HOUR}"}
    judge(promtool, tmp_path, series, 10 + after - 1, {})
    judge(promtool, tmp_path, series, 10 + after, {alert: [LABELS | {"finding": finding, "severity": severity}]})
    judge(promtool, tmp_path, healthy(3 * HOUR) | {name: f"0x9 1x{after - 2} 0x{3 * HOUR}"}, 10 + after, {})


def test_a_late_backup_fires_even_if_status_found_nothing(promtool: str, tmp_path: Path) -> None:
    name = f"mainstay_backup_last_good_time_seconds{{{DATA_SET}}}"
    late = {"MainstayBackupLate": [LABELS | {"severity": "critical"}]}
    series = healthy(2 * DAY) | {name: f"0x{2 * DAY}"}
    judge(promtool, tmp_path, series, DAY + 30, {})
    judge(promtool, tmp_path, series, DAY + 41, late)


def test_a_part_that_is_not_read_fires(promtool: str, tmp_path: Path) -> None:
    name = f"mainstay_backup_oldest_unread_time_seconds{{{DATA_SET}}}"
    unread = {"MainstayBackupUnread": [LABELS | {"severity": "warning"}]}
    series = healthy(0) | {"mainstay_backup_status_time_seconds": f"0+3600x{31 * 24}", name: f"0x{31 * 24}"}
    judge(promtool, tmp_path, series, 30 * DAY + HOUR, {}, HOUR)
    judge(promtool, tmp_path, series, 30 * DAY + 2 * HOUR, unread, HOUR)


def test_a_proof_that_is_too_old_fires_and_one_that_never_was_is_left_to_status(promtool: str, tmp_path: Path) -> None:
    name = f"mainstay_drill_last_proved_time_seconds{{{DATA_SET}}}"
    overdue = {"MainstayDrillOverdue": [LABELS | {"severity": "warning"}]}
    hours = 9 * 24
    looked = {"mainstay_backup_status_time_seconds": f"0+3600x{hours}"}
    limit = {f"mainstay_drill_within_seconds{{{DATA_SET}}}": f"{7 * 86400}x{hours}"}
    judge(promtool, tmp_path, looked | limit | {name: f"3600x{hours}"}, 7 * DAY + 13 * HOUR, {}, HOUR)
    judge(promtool, tmp_path, looked | limit | {name: f"3600x{hours}"}, 7 * DAY + 15 * HOUR, overdue, HOUR)
    judge(promtool, tmp_path, looked | limit | {name: f"0x{hours}"}, 8 * DAY, {}, HOUR)


@pytest.mark.parametrize(("figure", "alert"), [("rto", "MainstayDrillSlow"), ("rpo", "MainstayDrillOld")])
def test_a_recovery_over_its_budget_fires(promtool: str, tmp_path: Path, figure: str, alert: str) -> None:
    name = f"mainstay_drill_{figure}_seconds{{{DATA_SET}}}"
    over = {alert: [LABELS | {"severity": "warning"}]}
    judge(promtool, tmp_path, healthy(HOUR) | {name: f"7201x{HOUR}"}, 10, over)
    judge(promtool, tmp_path, healthy(HOUR) | {name: f"3600x{HOUR}"}, 10, {})


def test_a_certificate_that_ends_within_a_day_fires(promtool: str, tmp_path: Path) -> None:
    name = f"mainstay_certificate_not_after_time_seconds{{{DATA_SET},{NAME}}}"
    ends = {"MainstayCertificateEnds": [LABELS | {"name": "release.example.org", "severity": "critical"}]}
    series = healthy(DAY) | {name: f"{36 * 3600}x{DAY}"}
    judge(promtool, tmp_path, series, 12 * HOUR, {})
    judge(promtool, tmp_path, series, 12 * HOUR + 11, ends)


def test_a_status_that_nobody_writes_any_more_fires(promtool: str, tmp_path: Path) -> None:
    stale = {"MainstayBackupStatusStale": [{"severity": "critical"}]}
    series = healthy(6 * HOUR) | {"mainstay_backup_status_time_seconds": f"0x{6 * HOUR}"}
    judge(promtool, tmp_path, series, 3 * HOUR, {})
    judge(promtool, tmp_path, series, 3 * HOUR + 11, stale)


def test_a_status_that_was_never_written_fires(promtool: str, tmp_path: Path) -> None:
    missing = {"MainstayBackupStatusMissing": [{"severity": "critical"}]}
    judge(promtool, tmp_path, {"up": f"1x{HOUR}"}, 29, {})
    judge(promtool, tmp_path, {"up": f"1x{HOUR}"}, 30, missing)


def rows() -> list[Row]:
    return [look(good()), look(good(vault=snapshots(0))), look(good(ledger=[], control=[], vault=None, copy=None))]


def test_the_metrics_are_what_prometheus_reads_and_the_rules_ask_for(promtool: str) -> None:
    text = render(rows()[1:2], at(NOW))
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert set(re.findall(r"mainstay_(?:backup|certificate|drill)_\w+", RULES.read_text())) <= HELP.keys()
