"""The monitor host's own rules, as the fleet makes them, judged by Prometheus' own promtool."""

from pathlib import Path

import pytest

from lab.go import run
from roles.monitor import rules
from roles.monitor.settings import Settings
from tests.alerting import alerts
from tests.unit.test_monitor_role import key, made

__all__ = ["key"]
SETTINGS = Settings()
HOUR = 60
FS = 'instance="web-1",mountpoint="/srv/web",device="/dev/vdb"'
SERVER = 'job="https",instance="web-1",name="www.example.org",family="ipv4"'
UNIT = 'instance="web-1",state="failed",name="nginx.service"'


@pytest.fixture
def own(tmp_path: Path, key: Path) -> Path:
    """The rule file."""
    [text] = rules.files(made(tmp_path, key), SETTINGS).values()
    path = tmp_path / "own.rules.yml"
    path.write_text(text)
    return path


def healthy(minutes: int) -> dict[str, str]:
    """What a web server and the monitor host say when all is well, each minute for so long."""
    lasting = {
        'up{job="node",instance="web-1"}': 1,
        'up{job="prometheus",instance="prometheus"}': 1,
        f"node_filesystem_avail_bytes{{{FS}}}": 50,
        f"node_filesystem_size_bytes{{{FS}}}": 100,
        f"node_filesystem_files_free{{{FS}}}": 50,
        f"node_filesystem_files{{{FS}}}": 100,
        f"node_filesystem_readonly{{{FS}}}": 0,
        'node_memory_MemAvailable_bytes{instance="web-1"}': 50,
        'node_memory_MemTotal_bytes{instance="web-1"}': 100,
        'node_vmstat_oom_kill{instance="web-1"}': 3,
        'node_timex_sync_status{instance="web-1"}': 1,
        'node_timex_maxerror_seconds{instance="web-1"}': 0.01,
        f"node_systemd_unit_state{{{UNIT}}}": 0,
        'node_textfile_scrape_error{instance="web-1"}': 0,
        'prometheus_config_last_reload_successful{instance="prometheus"}': 1,
        'prometheus_rule_evaluation_failures_total{instance="prometheus"}': 0,
        'alertmanager_notifications_failed_total{instance="alertmanager"}': 2,
        'mainstay_drift_findings{instance="web-1",kind="files"}': 0,
        f"probe_success{{{SERVER}}}": 1,
        f"probe_http_status_code{{{SERVER}}}": 200,
        f"probe_ssl_earliest_cert_expiry{{{SERVER}}}": 60 * 86400,
    }
    return {name: f"{value}x{minutes}" for name, value in lasting.items()} | {
        'mainstay_journal_time_seconds{instance="monitor-1",host="web-1"}': f"0+60x{minutes}",
        'mainstay_drift_looked_time_seconds{instance="web-1"}': f"0+60x{minutes}",
        'node_time_seconds{instance="web-1"}': f"0+60x{minutes}",
    }


def test_they_are_well_formed(promtool: str, own: Path) -> None:
    run(promtool, "check", "rules", own, cwd=own.parent)


def test_none_but_the_watchdog_fires_when_all_is_well(promtool: str, own: Path, tmp_path: Path) -> None:
    assert alerts(promtool, own, tmp_path, healthy(8 * HOUR), 8 * HOUR) == {rules.WATCHDOG}


@pytest.mark.parametrize(
    ("changed", "minutes", "fires"),
    [
        ({'up{job="node",instance="web-1"}': "0x600"}, 5, "MainstayHostDown"),
        ({f"node_filesystem_avail_bytes{{{FS}}}": "9x600"}, 10, "MainstayDiskFilling"),
        ({f"node_filesystem_files_free{{{FS}}}": "4x600"}, 10, "MainstayDiskFilling"),
        ({f"node_filesystem_avail_bytes{{{FS}}}": "50-0.05x600"}, 400, "MainstayDiskFilling"),
        ({'node_memory_MemAvailable_bytes{instance="web-1"}': "7x600"}, 10, "MainstayMemoryShort"),
        ({'node_vmstat_oom_kill{instance="web-1"}': "3x4 4x600"}, 15, "MainstayMemoryShort"),
        ({'node_time_seconds{instance="web-1"}': "3+60x600"}, 30, "MainstayClockWrong"),
        (
            {
                'node_timex_sync_status{instance="web-1"}': "0x600",
                'node_timex_maxerror_seconds{instance="web-1"}': "16x600",
            },
            30,
            "MainstayClockWrong",
        ),
        ({f"node_systemd_unit_state{{{UNIT}}}": "1x600"}, 5, "MainstayUnitFailed"),
        ({'mainstay_journal_time_seconds{instance="monitor-1",host="web-1"}': "0x600"}, 391, "MainstayJournalSilent"),
        ({'mainstay_drift_findings{instance="web-1",kind="files"}': "1x600"}, 5, "MainstayDrift"),
        ({'mainstay_drift_looked_time_seconds{instance="web-1"}': "-216060x600"}, 30, "MainstayDriftUnseen"),
        ({'up{job="prometheus",instance="prometheus"}': "0x600"}, 10, "MainstayMonitorAiling"),
        (
            {'alertmanager_notifications_failed_total{instance="alertmanager"}': "2x4 3x600"},
            15,
            "MainstayMonitorAiling",
        ),
        ({'node_textfile_scrape_error{instance="web-1"}': "1x600"}, 10, "MainstayMonitorAiling"),
        ({f"probe_success{{{SERVER}}}": "0x600"}, 5, "MainstayDoesNotAnswer"),
        ({f"probe_http_status_code{{{SERVER}}}": "503x600"}, 480, "MainstayWebsiteInMaintenance"),
        ({f"probe_ssl_earliest_cert_expiry{{{SERVER}}}": f"{6 * 86400}x600"}, 60, "MainstayCertificateNotRenewed"),
    ],
)
def test_each_fires_once_it_lasts(
    promtool: str, own: Path, tmp_path: Path, changed: dict[str, str], minutes: int, fires: str
) -> None:
    series = healthy(600) | changed
    assert alerts(promtool, own, tmp_path, series, minutes) == {fires, rules.WATCHDOG}
    assert alerts(promtool, own, tmp_path, series, min(minutes, 60) - 2) == {rules.WATCHDOG}


def test_what_is_mounted_to_be_read_may_be_full(promtool: str, own: Path, tmp_path: Path) -> None:
    full = {f"node_filesystem_avail_bytes{{{FS}}}": "0x60", f"node_filesystem_readonly{{{FS}}}": "1x60"}
    assert alerts(promtool, own, tmp_path, healthy(60) | full, 30) == {rules.WATCHDOG}
