"""A host's journal, sent to the monitor host as it is written, so that who wipes it here has not wiped it there."""

from collections.abc import Mapping

from inventories import monitoring
from inventories.inventory import LoadedSite
from roles.base.exporter import AUTHORITY, CERTIFICATE, FOLDER, KEY
from roles.common import Opening, Unit
from roles.monitor.settings import JOURNALS

PACKAGE = "systemd-journal-remote"
NAME = "systemd-journal-upload.service"
DROP_IN = f"/etc/systemd/system/{NAME}.d/mainstay.conf"


def to(site: LoadedSite, host: str) -> str:
    """The monitor host's address; empty where there is none yet, and on that host itself."""
    monitor = monitoring.monitor_host(site)
    locked = site.lock.hosts.get(monitor)
    return locked.ipv4 if locked and host != monitor else ""


def packages(site: LoadedSite, host: str) -> tuple[str, ...]:
    """What is installed for it."""
    return (PACKAGE,) if to(site, host) else ()


def unit(site: LoadedSite, host: str) -> Unit:
    """In service where there is somebody to send to."""
    wanted = bool(to(site, host))
    return Unit(NAME, (f"{FOLDER}/*",), enabled=wanted, running=wanted)


def files(site: LoadedSite, host: str) -> Mapping[str, str]:
    """Content by path."""
    address = to(site, host)
    return {DROP_IN: UNIT.format(url=f"https://{address}:{JOURNALS}")} if address else {}


def absent_files(site: LoadedSite, host: str) -> tuple[str, ...]:
    """What an earlier monitor host may have left."""
    return () if to(site, host) else (DROP_IN,)


def openings(site: LoadedSite, host: str) -> list[Opening]:
    """On the monitor host: the site's other hosts, and nobody else."""
    if host != monitoring.monitor_host(site):
        return []
    others = tuple(locked.ipv4 for name, locked in sorted(site.lock.hosts.items()) if name != host and locked.ipv4)
    return [Opening(protocol="tcp", port=JOURNALS, sources=others)] if others else []


UNIT = f"""[Service]
LoadCredential=host.key:{KEY}
LoadCredential=host.pem:{CERTIFICATE}
LoadCredential=authority.pem:{AUTHORITY}
# It ends whenever the monitor host is away: what was not sent waits in the journal, and no deploy fails by that.
ExecStart=
ExecStart=/bin/sh -c 'while :; do /usr/lib/systemd/systemd-journal-upload --save-state --url={{url}} \\
  --key=%d/host.key --cert=%d/host.pem --trust=%d/authority.pem; sleep 15; done'
Restart=always
WatchdogSec=0
MemoryMax=96M
Nice=5
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
ProtectClock=yes
RestrictSUIDSGID=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
