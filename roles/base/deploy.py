"""What every host has, whatever its role: who gets in and how, time, updates, journal, mail, and what it reports."""

from importlib import import_module
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from backup import custody
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.roles import roles_of
from roles.base import control, drift, exporter, firewall, shipping, sysctl
from roles.base.lockout import ARM, confirmed, settled
from roles.base.mail import REMOTES, absent_files, mail_files, nullmailer
from roles.base.settings import SSH_PORT, Settings
from roles.base.strangers import strangers
from roles.common import Account, Unit, accounts, packages, services, tree

HERE = Path(__file__).parent
PACKAGES = (
    "ca-certificates",
    "chrony",
    "dbus",
    "libpam-systemd",
    "nftables",
    "nullmailer",
    "openssh-server",
    "procps",
    "sudo",
    "systemd-resolved",
    "unattended-upgrades",
)
PROGRAMS = "/usr/local/lib/mainstay"
"""Run by root: nobody else may put files there."""
READERS = ("adm", "systemd-journal")
"""Groups that read logs without sudo."""

FIREWALL = Unit("nftables.service", ("/etc/nftables.conf", "/etc/nftables.d/*"), reload=True, probe=firewall.PROBE)
KERNEL = Unit("systemd-sysctl.service", ("/etc/sysctl.d/*.conf",), probe=sysctl.probe())
"""These two also take up what a role adds; its deploy names them again, so that it is in service at once."""
UNITS = (
    Unit("mainstay-rollback.service", running=False),
    Unit("systemd-journald.service", ("/etc/systemd/journald.conf.d/*",), enabled=False),
    Unit("chrony.service", ("/etc/chrony/chrony.conf", "/etc/default/chrony", "/usr/local/lib/mainstay/chronyd.sh")),
    Unit("apt-daily.timer"),
    Unit("apt-daily-upgrade.timer"),
    Unit("unattended-upgrades.service", ("/etc/apt/apt.conf.d/52mainstay",)),
    Unit("mainstay-stale.timer", ("/etc/systemd/system/mainstay-stale.service",)),
    drift.UNIT,
)


def access_units(settings: Settings) -> tuple[Unit, ...]:
    """What decides who gets in."""
    on = not settings.offline
    return (
        FIREWALL,
        KERNEL,
        Unit("systemd-resolved.service", ("/etc/systemd/resolved.conf.d/*",)),
        Unit("ssh.service", ("/etc/ssh/sshd_config",), reload=True, enabled=on, running=on),
    )


def may_log_in(site: LoadedSite, host: str, role: str, settings: Settings) -> list[str]:
    """Names for sshd's AllowUsers. Raises InputError if there are none, or `ssh_only` names somebody unknown."""
    names = [admin.name for admin in site.admins.for_role(role)]
    allowed = [admin for admin in names if not settings.ssh_only or admin in settings.ssh_only]
    known = {admin.name for admin in site.admins.all()}
    unknown = [only for only in settings.ssh_only if only not in known]
    if unknown or not allowed:
        raise InputError(
            site.path,
            f"hosts.{host}.settings.base.ssh_only",
            f"{', '.join(unknown)}: no admin" if unknown else "leaves nobody who may log in",
            f"admins of the role {role!r} in {site.files}/admins.toml: {', '.join(names) or 'none'}",
        )
    return allowed


def published_as(role: str) -> str:
    """The account that owns what hosts of a role publish; empty where nothing is published."""
    return str(getattr(import_module(f"roles.{role}.settings"), "PUBLISHER", ""))


@deploy("base")
def base() -> None:
    """Makes a host what every host is, or finds that it is."""
    site: LoadedSite = host.data.site
    name: str = host.data.host_name
    settings: Settings = host.data.settings["base"]
    role: str = host.data.declared.role
    admins = site.admins.for_role(role)
    names = [admin.name for admin in admins]
    allowed = may_log_in(site, name, role, settings)
    watched = control.watched(site, name)
    if watched and not settings.ssh_only:
        allowed.append(control.ACCOUNT)

    settled(name="what an earlier run left")
    packages("packages", dict.fromkeys((*PACKAGES, *exporter.packages(site), *shipping.packages(site, name))))
    tree(
        "files",
        HERE / "tree",
        settings.model_dump() | {"reboot_at": settings.reboot_at(name)},
        generated={
            drift.INSTALLED: drift.program(),
            **mail_files(site, settings),
            **exporter.files(site, name),
            **shipping.files(site, name),
        },
        absent=(*absent_files(settings), *exporter.absent_files(site), *shipping.absent_files(site, name)),
        modes={REMOTES: "0640", PROGRAMS: "0755"} | exporter.MODES,
        owners={REMOTES: "root:mail", PROGRAMS: "root:root"} | exporter.OWNERS,
        secret=(REMOTES, exporter.KEY),
        validate={"/etc/chrony/*": "chronyd -p -f /etc/chrony/chrony.conf"},
    )
    changes = [
        accounts(
            "admins",
            [
                *(Account(a.name, groups=READERS, full_name=a.full_name, ssh_keys=a.ssh_keys) for a in admins),
                *([watched.account] if watched else []),
            ],
            absent=() if watched or role == custody.CONTROL_ROLE else (control.ACCOUNT,),
            before=ARM,
        ),
        tree(
            "access",
            HERE / "access",
            settings.model_dump()
            | {
                "allowed": allowed,
                "control_keys": control.KEYS if watched else "",
                "sudoers": [admin.name for admin in admins if admin.sudo],
                "publisher": published_as(role),
                "publishers": [admin.name for admin in admins if admin.publisher],
                "ssh_port": SSH_PORT,
                "ssh": firewall.ssh(settings),
                "egress": firewall.egress(settings.egress),
                "openings": firewall.rules(
                    [
                        *firewall.openings_of(roles_of(host.data.declared)),
                        *exporter.openings(site),
                        *shipping.openings(site, name),
                    ]
                ),
            },
            generated={sysctl.FILE: sysctl.text()} | ({control.KEYS: watched.key} if watched else {}),
            absent=("/etc/sudoers.d/90-cloud-init-users", *([] if watched else [control.KEYS])),
            modes={"/etc/sudoers": "0440", "/etc/nftables.conf": "0755"},
            validate={
                "/etc/ssh/*": "sshd -t",
                "/etc/sudoers": "visudo -c",
                "/etc/nftables.conf": "nft -c -f /etc/nftables.conf",
            },
            before=ARM,
        ),
        strangers(name="strangers", admins=[*names, control.ACCOUNT], before=ARM),
        services("access in service", access_units(settings), before=ARM),
    ]
    confirmed(name="a new connection", changes=changes)
    services("services", (*UNITS, nullmailer(settings), exporter.unit(site), shipping.unit(site, name)))
