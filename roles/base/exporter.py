"""The node exporter, by which the monitor host sees a host: files, firewall and unit. Only where the site has one.

It answers by TLS whoever shows the monitor host's certificate, and the firewall lets nobody else try.
"""

from collections.abc import Mapping

from inventories import monitoring
from inventories.inventory import LoadedSite
from roles.common import Listen, Opening, Unit, metrics

PACKAGE = "prometheus-node-exporter"
PORT = 9100
FOLDER = "/etc/mainstay/monitored"
AUTHORITY, CERTIFICATE, KEY = (f"{FOLDER}/{name}" for name in ("authority.pem", "host.pem", "host.key"))
WEB = f"{FOLDER}/exporter.yml"
DEFAULTS = f"/etc/default/{PACKAGE}"
DROP_IN = f"/etc/systemd/system/{PACKAGE}.service.d/mainstay.conf"
OWNER = "prometheus"
"""The account of Debian's packages."""
COLLECTORS = (
    *("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat"),
    *("systemd", "textfile", "time", "timex", "uname", "vmstat"),
)
FILES = (AUTHORITY, CERTIFICATE, KEY, WEB, DEFAULTS, DROP_IN)


def packages(site: LoadedSite) -> tuple[str, ...]:
    """What is installed for it."""
    return (PACKAGE,) if monitoring.monitor_host(site) else ()


def unit(site: LoadedSite) -> Unit:
    """In service with a monitor host, and out of it without."""
    wanted = bool(monitoring.monitor_host(site))
    return Unit(f"{PACKAGE}.service", (f"{FOLDER}/*", DEFAULTS), enabled=wanted, running=wanted)


def files(site: LoadedSite, host: str) -> Mapping[str, str]:
    """Content by path; nothing without a monitor host. Raises InputError when there is no authority yet."""
    monitor = monitoring.monitor_host(site)
    if not monitor:
        return {}
    own = monitoring.identity(site, host)
    return {
        AUTHORITY: own.authority,
        CERTIFICATE: own.certificate,
        KEY: own.key.get_secret_value(),
        WEB: _web(monitor),
        DEFAULTS: f'ARGS="{" ".join(_arguments())}"\n',
        DROP_IN: UNIT,
    }


def absent_files(site: LoadedSite) -> tuple[str, ...]:
    """What an earlier monitor host may have left. Debian's own file stays."""
    return () if monitoring.monitor_host(site) else tuple(path for path in FILES if path != DEFAULTS)


def openings(site: LoadedSite) -> list[Opening]:
    """The monitor host, once it has an address, and nobody else."""
    locked = site.lock.hosts.get(monitoring.monitor_host(site))
    return [Opening(protocol="tcp", port=PORT, sources=(locked.ipv4,))] if locked and locked.ipv4 else []


def listens(site: LoadedSite) -> list[Listen]:
    """Its port."""
    return [Listen(protocol="tcp", port=PORT)] if monitoring.monitor_host(site) else []


MODES = {FOLDER: "0750", KEY: "0640"}
OWNERS = {FOLDER: f"root:{OWNER}", KEY: f"root:{OWNER}"}


def _web(monitor: str) -> str:
    """The exporter toolkit's web configuration (v0.14): a client's certificate must be of the authority, and bear the
    monitor host's name."""
    return f"""tls_server_config:
  cert_file: {CERTIFICATE}
  key_file: {KEY}
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: {AUTHORITY}
  client_allowed_sans: [{monitor}]
  min_version: TLS13
"""


def _arguments() -> list[str]:
    return [
        f"--web.listen-address=:{PORT}",
        f"--web.config.file={WEB}",
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        *(f"--collector.{one}" for one in COLLECTORS),
        f"--collector.textfile.directory={metrics.FOLDER}",
        # Unlike the default this has the root of a container.
        "--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|"
        "fuse.lxcfs|fusectl|hugetlbfs|mqueue|nsfs|proc|pstore|ramfs|securityfs|squashfs|sysfs|tmpfs|tracefs)$",
        "--collector.systemd.unit-include=.+[.](service|socket|timer|mount)",
    ]


UNIT = """[Service]
MemoryMax=96M
Environment=GOMEMLIMIT=64MiB GOMAXPROCS=1
Nice=5
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
