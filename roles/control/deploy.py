"""The control host: looks after the backups by timer, and keeps copies of what has no other."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from backup import custody
from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from roles.base import control as base
from roles.common import Unit, accounts, metrics, packages, services, tree, volumes
from roles.control import holds, software, zones
from roles.control.settings import Settings, state_volume
from roles.release.tools.audit import site as audits

OWNER = base.ACCOUNT
"""The base of every host makes it too, as it is by this account that the control side comes to them."""
UNITS = "/etc/systemd/system"
PACKAGES: dict[str, str | None] = {
    "git": None,
    "openssh-client": None,
    "python3": software.PYTHON,
    "restic": "0.17",
    "rsync": None,
}
FOLDERS = ("drills", "kept-drills", "ledgers", "mirrors", "status", "zones")
VERIFIED = " ".join(
    (*(f"mainstay-control@{one}.service" for one in ("watch", "drill", "audit", "sources")), "mainstay-mail.socket")
)
SOFTWARE = Unit("mainstay-control-software.service", (f"{software.FOLDER}/*", "/usr/local/lib/mainstay/unpack.py"))


@deploy("control")
def control() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    settings: Settings = host.data.settings["control"]
    declared: dict[str, Volume] = host.data.declared.volumes
    mount = state_volume(site, host.data.host_name, settings).mount
    folders = [f"{mount}/{name}" for name in FOLDERS]
    kept = zones.files(site, f"{mount}/zones") if settings.zones else {}
    has_mail = host.data.settings["base"].mail is not None

    packages("packages", PACKAGES | volumes.packages(declared))
    accounts("owner of what is collected", [base.account()])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: OWNER})
    tree(
        "files",
        Path(__file__).parent / "tree",
        {"mount": mount, "metrics": metrics.FOLDER, "folder": holds.FOLDER, "inventory": f"{site.path.stem}.py"},
        generated=holds.files(site) | software.archives(site) | kept,
        directories=(*folders, metrics.FOLDER, "/var/cache/mainstay", software.FOLDER),
        modes={
            "*.py": "0755",
            mount: "0755",
            **dict.fromkeys(folders, "0750"),
            metrics.FOLDER: "0775",
            "/var/cache/mainstay": "0700",
            holds.FOLDER: "0750",
            f"{holds.FOLDER}/*": "0640",
        },
        owners={
            metrics.FOLDER: f"root:{OWNER}",
            "/var/cache/mainstay": f"{OWNER}:{OWNER}",
            holds.FOLDER: f"root:{OWNER}",
            f"{holds.FOLDER}/*": f"root:{OWNER}",
            f"{mount}/*": f"{OWNER}:{OWNER}",
        },
        secret=(f"{holds.FOLDER}/*_key",),
        validate={f"{UNITS}/mainstay-*": f"systemd-analyze verify {VERIFIED}"},
    )
    services("software", [SOFTWARE])
    services("services", [Unit("mainstay-mail.socket", enabled=has_mail, running=has_mail), *timers(site, settings)])


def timers(site: LoadedSite, settings: Settings) -> list[Unit]:
    """In service where there is something for them to do."""
    saved = custody.vault_of(site) is not None
    wanted = {
        "watch": saved,
        "verify": saved,
        "copy": saved and site.fleet.backup.copy_ is not None,
        "mirror": bool(settings.mirrors),
        "drill": saved and site.fleet.drill is not None,
        "sweep": site.fleet.drill is not None,
        "audit": saved and bool(site.fleet.with_role("release")) and bool(audits.mirrored(site)),
        "sources": saved and bool(settings.sources),
    }
    return [
        Unit(
            f"mainstay-control@{kind}.timer",
            (f"{UNITS}/mainstay-control@.service", f"{UNITS}/mainstay-control@{kind}.service.d"),
            enabled=there,
            running=there,
        )
        for kind, there in wanted.items()
    ]
