"""Whom Prometheus asks, from the fleet: each host's exporter, and each server's names by each of its addresses. Pure.

Prometheus and the blackbox exporter read YAML, of which JSON is a part: what is here is written as it is.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple

from inventories import monitoring, trusted
from inventories.errors import InputError
from inventories.fleet import Firewall, Host
from inventories.inventory import LoadedSite
from roles.base import exporter
from roles.common.nginx import certificate
from roles.monitor.settings import ALERTMANAGER, BLACKBOX, JOURNALS, LOOPBACK, PROMETHEUS, Settings

ROOTS = "/etc/prometheus/roots.pem"
"""Where servers' certificates are of no public authority (the lab)."""
Json = dict[str, Any]


class Asked(NamedTuple):
    """What a server is asked over HTTPS, and by what status it is well."""

    path: str
    well: tuple[int, ...]


IN_MAINTENANCE = 503
"""How a website answers that was put into maintenance: an alert of its own says when that lasts."""
ASKED = {
    "release": Asked("/", (404,)),
    "web": Asked("/", (200, IN_MAINTENANCE)),
    "gerrit": Asked("/config/server/version", (200,)),
    "gitmirror": Asked("/", (404,)),
}
"""By role. A release server and a mirror have nothing at their root: that they say so, by a certificate that is good,
is that they serve; whether what phones get is right is the control host's to find."""


class Probe(NamedTuple):
    """One look at one server, by one of its names and one of its addresses."""

    host: str
    name: str
    address: str
    asked: Asked
    verified: bool
    """Whether an authority vouches for its certificate."""

    @property
    def family(self) -> str:
        return f"ipv{ip_address(self.address).version}"

    @property
    def module(self) -> str:
        """The blackbox exporter's."""
        statuses = "_".join(str(status) for status in self.asked.well)
        return f"https_{statuses}_{self.family}" + ("" if self.verified else "_unverified")

    @property
    def url(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{address}{self.asked.path}"


def probes(site: LoadedSite) -> list[Probe]:
    """All of them, in the fleet's order; of hosts that have an address."""
    return [probe for name, host in site.fleet.hosts.items() for probe in _of_host(site, name, host)]


def _of_host(site: LoadedSite, name: str, host: Host) -> Iterator[Probe]:
    asked, locked = ASKED.get(host.role), site.lock.hosts.get(name)
    if not asked or not locked:
        return
    declared = getattr(site.settings(name)[host.role], "certificate", None)
    verified = isinstance(declared, certificate.Certificate) and declared.challenge != "none"
    for dns in certificate.names(site, name):
        for address in filter(None, (locked.ipv4, locked.ipv6)):
            yield Probe(name, dns, address, asked, verified)


def prometheus(site: LoadedSite, settings: Settings) -> Json:
    """prometheus.yml. Raises InputError for a host whose provider's firewall keeps the monitor host out."""
    monitor = monitoring.monitor_host(site)
    if len(site.fleet.hosts) > 1:
        _must_let_in(site, monitor, JOURNALS, "what hosts send")
    every = f"{settings.interval_seconds}s"
    found = probes(site)
    modules = sorted({probe.module for probe in found})
    return {
        "global": {
            "scrape_interval": every,
            "evaluation_interval": every,
            "scrape_timeout": f"{min(10, settings.interval_seconds)}s",
        },
        "rule_files": ["/etc/prometheus/rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{LOOPBACK}:{ALERTMANAGER}"]}]}]},
        "scrape_configs": [
            _own("prometheus", PROMETHEUS),
            _own("alertmanager", ALERTMANAGER),
            *(_node(site, name) for name, locked in sorted(site.lock.hosts.items()) if _is_asked(site, name)),
            *(_blackbox(module, [probe for probe in found if probe.module == module]) for module in modules),
        ],
    }


def blackbox(site: LoadedSite, *, has_roots: bool) -> Json:
    """blackbox.yml. has_roots: whether another authority takes the place of Debian's."""
    return {"modules": {probe.module: _module(probe, has_roots) for probe in probes(site)}}


def roots(site: LoadedSite) -> dict[str, str]:
    """The authorities that take the place of Debian's, by path, where a site has such."""
    path = site.files / trusted.ROOTS
    return {ROOTS: path.read_text()} if path.exists() else {}


def _is_asked(site: LoadedSite, name: str) -> bool:
    host = site.fleet.hosts.get(name)
    if not host or not site.lock.hosts[name].ipv4:
        return False
    _must_let_in(site, name, exporter.PORT, "the monitor host")
    return True


def _must_let_in(site: LoadedSite, name: str, port: int, whom: str) -> None:
    group = site.fleet.hosts[name].firewall
    if group and not _lets_in(site.fleet.firewalls[group], port):
        hint = f'add {{ protocol = "tcp", port = "{port}", notes = "monitor" }}, and provision'
        raise InputError(site.path, f"firewalls.{group}.rules", f"keeps {whom} from {name}", hint)


def _lets_in(group: Firewall, port: int) -> bool:
    for rule in group.rules:
        first, _, last = rule.port.partition(":")
        if rule.protocol == "tcp" and int(first) <= port <= int(last or first):
            return True
    return False


def _own(job: str, port: int) -> Json:
    return {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"], "labels": {"instance": job}}]}


def _node(site: LoadedSite, name: str) -> Json:
    """One job a host: the name that its certificate must bear is a setting of a job."""
    return {
        "job_name": f"node-{name}",
        "scheme": "https",
        "tls_config": {
            "ca_file": exporter.AUTHORITY,
            "cert_file": exporter.CERTIFICATE,
            "key_file": exporter.KEY,
            "server_name": name,
            "min_version": "TLS13",
        },
        "static_configs": [
            {
                "targets": [f"{site.lock.hosts[name].ipv4}:{exporter.PORT}"],
                "labels": {"instance": name, "job": "node"},
            }
        ],
        "metric_relabel_configs": [
            {
                "source_labels": ["__name__", "state"],
                "regex": "node_systemd_unit_state;(active|activating|deactivating|inactive)",
                "action": "drop",
            }
        ],
    }


def _blackbox(module: str, of: list[Probe]) -> Json:
    return {
        "job_name": module,
        "metrics_path": "/probe",
        "params": {"module": [module]},
        "static_configs": [
            {
                "targets": [probe.url],
                "labels": {
                    "job": "https",
                    "instance": probe.host,
                    "name": probe.name,
                    "family": probe.family,
                    "__param_hostname": probe.name,
                },
            }
            for probe in of
        ],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"target_label": "__address__", "replacement": f"{LOOPBACK}:{BLACKBOX}"},
        ],
    }


def _module(probe: Probe, has_roots: bool) -> Json:
    trust: Json = {"min_version": "TLS12"}
    if not probe.verified:
        trust["insecure_skip_verify"] = True
    elif has_roots:
        trust["ca_file"] = ROOTS
    return {
        "prober": "http",
        "timeout": "10s",
        "http": {
            "method": "GET",
            "preferred_ip_protocol": "ip6" if probe.family == "ipv6" else "ip4",
            "ip_protocol_fallback": False,
            "follow_redirects": False,
            "fail_if_not_ssl": True,
            "valid_status_codes": list(probe.asked.well),
            "tls_config": trust,
        },
    }
