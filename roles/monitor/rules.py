"""What people are told: the rules of this role, from the fleet and its settings, and which of other roles' apply. Pure.

Few, each something that a person must act on, each with a runbook. tests/e2e/test_monitor_rules.py has them judged by
promtool.
"""

import json
from typing import Any

from backup import custody
from inventories.inventory import CLONE, LoadedSite
from roles.monitor.scraping import IN_MAINTENANCE, probes
from roles.monitor.settings import Settings

FOLDER = "/etc/prometheus/rules"
OWN = "mainstay-monitor"
RUNBOOKS = "docs/runbooks"
OTHERS = {
    "mainstay-backup": "backup/alerts/mainstay-backup.rules.yml",
    "mainstay-release": "roles/release/alerts/mainstay-release.rules.yml",
    "mainstay-sources": "roles/gerrit/alerts/mainstay-sources.rules.yml",
    "mainstay-gerrit": "roles/gerrit/alerts/mainstay-gerrit.rules.yml",
    "mainstay-gitmirror": "roles/gitmirror/alerts/mainstay-gitmirror.rules.yml",
}
WATCHDOG = "MainstayWatchdog"
HOST_DOWN = "MainstayHostDown"
DOES_NOT_ANSWER = "MainstayDoesNotAnswer"
SHOWN = (
    *("MainstayBackupCritical", "MainstayBackupWarning", "MainstayBackupLate", "MainstayBackupUnread"),
    *("MainstayDrillOverdue", "MainstayDrillSlow", "MainstayDrillOld", "MainstayCertificateEnds"),
    *("MainstayReleaseWrong", "MainstayReleaseUnread", "MainstayReleaseAuditStale"),
    *("MainstaySourcesWrong", "MainstaySourcesUnread", "MainstaySourcesAuditStale"),
    *("MainstayGerritVolumeFull", "MainstayMirrorGone"),
)
"""Not told from here, and shown: the control host tells what it finds by itself, once when it begins and once when it
ends; that it does not look any more is told from here. The last two are another alert's, or nobody's to act on."""
MAINTENANCE_LASTS = "8h"
"""Then somebody may have forgotten it."""
HOLDS = "node_filesystem_avail_bytes / node_filesystem_size_bytes"
FULL_IN_A_DAY = "predict_linear(node_filesystem_avail_bytes[6h], 86400)"
WRITABLE = "and on (instance, mountpoint) node_filesystem_readonly == 0"


def files(site: LoadedSite, settings: Settings) -> dict[str, str]:
    """Prometheus' rule files by their paths on the host."""
    own = json.dumps({"groups": [{"name": OWN, "rules": rules(site, settings)}]}, indent=2) + "\n"
    others = {_path(name): (CLONE / OTHERS[name]).read_text() for name in _applying(site)}
    return {_path(OWN): own} | others


def absent(site: LoadedSite) -> tuple[str, ...]:
    """What another fleet may have left."""
    return tuple(_path(name) for name in OTHERS if name not in _applying(site))


def _path(name: str) -> str:
    return f"{FOLDER}/{name}.rules.yml"


def _applying(site: LoadedSite) -> list[str]:
    fleet = site.fleet
    looked_after = bool(fleet.with_role("control")) and custody.vault_of(site) is not None
    wanted = {
        "mainstay-backup": looked_after,
        "mainstay-release": looked_after and bool(fleet.with_role("release")),
        "mainstay-sources": looked_after,
        "mainstay-gerrit": bool(fleet.with_role("gerrit")),
        "mainstay-gitmirror": bool(fleet.with_role("gitmirror")),
    }
    return [name for name, applies in wanted.items() if applies]


def rules(site: LoadedSite, settings: Settings) -> list[dict[str, Any]]:
    """Those of this role."""
    patience = f"{settings.patience_minutes}m"
    control_tells = 'name!~"mainstay-(control|backup|backup-verify)@.*",' if site.fleet.with_role("control") else ""
    found = [
        _rule(
            HOST_DOWN,
            'up{job="node"} == 0',
            patience,
            "critical",
            "{{ $labels.instance }} does not answer",
            "`mainstay ssh {{ $labels.instance }} uptime`: is it up, and only its exporter down?",
            "host-down",
        ),
        _rule(
            "MainstayDiskFilling",
            f"({HOLDS} < 0.1 {WRITABLE}) or (node_filesystem_files_free / node_filesystem_files < 0.05 {WRITABLE})",
            "10m",
            "critical",
            "{{ $labels.instance }}: {{ $labels.mountpoint }} is nearly full",
            "Less than a tenth of it is free, or less than a twentieth of its inodes.",
            "disk-filling",
        ),
        _rule(
            "MainstayDiskFilling",
            f"({FULL_IN_A_DAY} < 0 and {HOLDS} < 0.4 and {HOLDS} >= 0.1) {WRITABLE}",
            "1h",
            "warning",
            "{{ $labels.instance }}: {{ $labels.mountpoint }} will be full within a day",
            "If it goes on as it did in the last six hours.",
            "disk-filling",
        ),
        _rule(
            "MainstayMemoryShort",
            "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.08"
            " or increase(node_vmstat_oom_kill[30m]) > 0",
            "10m",
            "warning",
            "{{ $labels.instance }} is short of memory",
            "Less than 8 % is available, or the kernel has ended a program for want of it.",
            "memory-short",
        ),
        _rule(
            "MainstayClockWrong",
            "abs(node_time_seconds - timestamp(node_time_seconds)) > 2"
            " or (node_timex_sync_status == 0 and node_timex_maxerror_seconds >= 16)",
            "30m",
            "warning",
            "{{ $labels.instance }}: its clock is wrong, or nothing keeps it right",
            "Certificates, backups and journals go by it.",
            "clock-wrong",
        ),
        _rule(
            "MainstayUnitFailed",
            f'node_systemd_unit_state{{{control_tells}state="failed"}} == 1',
            patience,
            "warning",
            "{{ $labels.instance }}: {{ $labels.name }} has failed",
            "On it: `systemctl status {{ $labels.name }}`.",
            "unit-failed",
        ),
        _rule(
            "MainstayDrift",
            "sum by (instance) (mainstay_drift_findings) > 0",
            "5m",
            "warning",
            "{{ $labels.instance }}: {{ $value }} things are not as its last deploy left them",
            "`mainstay status` names them; `mainstay drift {{ $labels.instance }}` shows how they differ.",
            "drift-found",
        ),
        _rule(
            "MainstayDriftUnseen",
            "time() - mainstay_drift_looked_time_seconds > 60 * 3600",
            "30m",
            "warning",
            "{{ $labels.instance }} has looked for drift last {{ $value | humanizeDuration }} ago",
            "It looks daily, once its last deploy has come to its end: `mainstay deploys`; its unit is mainstay-drift.",
            "drift-found",
        ),
        _rule(
            "MainstayJournalSilent",
            "time() - mainstay_journal_time_seconds > 6 * 3600",
            "30m",
            "warning",
            "{{ $labels.host }}: nothing of its journal has come for {{ $value | humanizeDuration }}",
            "Hosts write down something every hour. Is it sent, and does somebody want that it is not?",
            "journal-silent",
        ),
        _rule(
            "MainstayMonitorAiling",
            'up{job!="node"} == 0 or prometheus_config_last_reload_successful == 0'
            " or increase(prometheus_rule_evaluation_failures_total[30m]) > 0"
            " or increase(alertmanager_notifications_failed_total[30m]) > 0 or node_textfile_scrape_error == 1",
            "10m",
            "warning",
            "{{ $labels.instance }}: what watches over all else is not well",
            "`mainstay monitor alerts`, and the journals of Prometheus, Alertmanager and mainstay-tell.",
            "monitor-silent",
        ),
        _rule(
            WATCHDOG,
            "vector(1)",
            "0s",
            "none",
            "Always there: what it is sent to tells when it is sent no more",
            "Nothing to do.",
            "monitor-silent",
        ),
    ]
    return found + (_of_servers(settings, patience) if probes(site) else [])


def _of_servers(settings: Settings, patience: str) -> list[dict[str, Any]]:
    return [
        _rule(
            DOES_NOT_ANSWER,
            'probe_success{job="https"} == 0',
            patience,
            "critical",
            "{{ $labels.instance }} does not serve {{ $labels.name }} over {{ $labels.family }}",
            "Users are met by no answer, by an error, or by a certificate that is none.",
            "does-not-answer",
        ),
        _rule(
            "MainstayWebsiteInMaintenance",
            f'max by (instance) (probe_http_status_code{{job="https"}} == {IN_MAINTENANCE}'
            ' and probe_success{job="https"} == 1)',
            MAINTENANCE_LASTS,
            "warning",
            "{{ $labels.instance }}: the website has been in maintenance for " + MAINTENANCE_LASTS,
            "Visitors get its page and nothing else. Is it over?",
            "website-maintenance",
        ),
        _rule(
            "MainstayCertificateNotRenewed",
            f'probe_ssl_earliest_cert_expiry{{job="https"}} - time() < {settings.certificate_days} * 86400',
            "1h",
            "critical",
            "{{ $labels.instance }}: its certificate for {{ $labels.name }} ends in {{ $value | humanizeDuration }}",
            "Another one is due, and the host could not get it.",
            "certificate-will-not-renew",
        ),
    ]


def _rule(
    alert: str, expr: str, lasting: str, severity: str, summary: str, description: str, runbook: str
) -> dict[str, Any]:
    return {
        "alert": alert,
        "expr": expr,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description, "runbook": f"{RUNBOOKS}/{runbook}.md"},
    }
