"""The monitor host: Debian's Prometheus, Alertmanager and blackbox exporter, on loopback; a program tells people."""

import json
from collections.abc import Mapping
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventories.inventory import LoadedSite
from roles.base import exporter, shipping
from roles.common import Unit, metrics, packages, services, tree
from roles.monitor import rules, scraping, telling
from roles.monitor.settings import ALERTMANAGER, BLACKBOX, JOURNALS, LOOPBACK, PROMETHEUS, TELL, Settings
from roles.monitor.tools import asking

NAMES = ("prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter")
PACKAGES: dict[str, str | None] = {
    **dict.fromkeys((*NAMES, shipping.PACKAGE)),
    "curl": None,
    "python3": "3.11",
}
CONFIG = "/etc/prometheus"
UNITS = "/etc/systemd/system"
DATA = "/var/lib/prometheus"
OWNER = exporter.OWNER
PROGRAM = "/usr/local/lib/mainstay/tell.py"
TAKER = "systemd-journal-remote"
"""Whose hosts' journals are."""
JOURNALS_CONFIG = "/etc/mainstay/monitor/journals.json"
VERIFIED = " ".join(f"{name}.service" for name in (*NAMES, "mainstay-tell", "mainstay-journals"))
SERVICES = (
    Unit("mainstay-tell.service", (PROGRAM, telling.CONFIG)),
    Unit(
        "mainstay-journals.service",
        (
            "/usr/local/lib/mainstay/journals.py",
            JOURNALS_CONFIG,
            "/etc/systemd/journal-remote.conf.d/*",
            f"{exporter.FOLDER}/*",
        ),
    ),
    Unit("prometheus-alertmanager.service", ("/etc/default/prometheus-alertmanager", f"{CONFIG}/alertmanager.yml")),
    Unit(
        "prometheus-blackbox-exporter.service",
        ("/etc/default/prometheus-blackbox-exporter", f"{CONFIG}/blackbox.yml", scraping.ROOTS),
    ),
    Unit(
        "prometheus.service",
        ("/etc/default/prometheus", f"{CONFIG}/prometheus.yml", f"{rules.FOLDER}/*", f"{exporter.FOLDER}/*"),
    ),
)


@deploy("monitor")
def monitor() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    settings: Settings = host.data.settings["monitor"]
    where = telling.told(site, host.data.settings["base"].mail)
    trusted = scraping.roots(site)

    packages("packages", PACKAGES)
    tree(
        "files",
        Path(__file__).parent / "tree",
        {
            "config": telling.CONFIG,
            "port": TELL,
            "journals": JOURNALS_CONFIG,
            "journal_mb": settings.journal_mb,
            "metrics": metrics.FOLDER,
            "authority": exporter.AUTHORITY,
            "certificate": exporter.CERTIFICATE,
            "key": exporter.KEY,
        },
        generated={
            f"{CONFIG}/prometheus.yml": _json(scraping.prometheus(site, settings)),
            f"{CONFIG}/blackbox.yml": _json(scraping.blackbox(site, has_roots=bool(trusted))),
            f"{CONFIG}/alertmanager.yml": telling.alertmanager(settings, where),
            telling.CONFIG: telling.config(where),
            JOURNALS_CONFIG: _json(journals(site, host.data.host_name, settings)),
            **{f"/etc/default/{name}": f'ARGS="{" ".join(words)}"\n' for name, words in arguments(settings).items()},
            **rules.files(site, settings),
            **trusted,
        },
        absent=(*rules.absent(site), *({scraping.ROOTS} - {*trusted})),
        directories=(metrics.FOLDER,),
        modes={"/etc/mainstay/monitor": "0700", telling.CONFIG: "0600", metrics.FOLDER: "0775"},
        owners={metrics.FOLDER: f"root:{TAKER}"},
        secret=(telling.CONFIG,),
        validate={
            f"{CONFIG}/prometheus.yml": f"promtool check config {CONFIG}/prometheus.yml",
            f"{rules.FOLDER}/*": f"promtool check rules {rules.FOLDER}/*.yml",
            f"{CONFIG}/alertmanager.yml": f"amtool check-config {CONFIG}/alertmanager.yml",
            f"{CONFIG}/blackbox.yml": f"{NAMES[2]} --config.check --config.file={CONFIG}/blackbox.yml",
            f"{UNITS}/*": f"systemd-analyze verify --man=no {VERIFIED}",
        },
    )
    services("services", SERVICES)


def journals(site: LoadedSite, own: str, settings: Settings) -> dict[str, object]:
    """What mainstay-journals is told: who may send, and how long it is kept."""
    return {
        "folder": asking.JOURNALS,
        "hosts": [name for name in sorted(site.fleet.hosts) if name != own],
        "port": JOURNALS,
        "days": settings.journal_days,
        "metrics": f"{metrics.FOLDER}/mainstay-journals.prom",
    }


def arguments(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """Of Debian's units, by package."""
    return {
        "prometheus": (
            f"--config.file={CONFIG}/prometheus.yml",
            f"--web.listen-address={LOOPBACK}:{PROMETHEUS}",
            f"--storage.tsdb.path={DATA}/metrics2/",
            f"--storage.tsdb.retention.time={settings.keep_days}d",
            f"--storage.tsdb.retention.size={settings.keep_mb}MB",
            "--query.max-concurrency=4",
            "--query.max-samples=5000000",
            # An alert that is not sent again is over after four of these: so the dead man's switch knows in a minute.
            "--rules.alert.resend-delay=15s",
        ),
        "prometheus-alertmanager": (
            f"--config.file={CONFIG}/alertmanager.yml",
            f"--storage.path={DATA}/alertmanager",
            f"--web.listen-address={LOOPBACK}:{ALERTMANAGER}",
            "--cluster.listen-address=",
        ),
        "prometheus-blackbox-exporter": (
            f"--config.file={CONFIG}/blackbox.yml",
            f"--web.listen-address={LOOPBACK}:{BLACKBOX}",
            "--log.prober=error",
        ),
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
