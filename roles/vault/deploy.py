"""The vault: Debian's restic-rest-server three times over the same repositories."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from backup import custody
from backup.custody import ADMIN, APPEND, CONTROL, PORTS
from inventories.errors import InputError
from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from roles.common import Account, Unit, accounts, packages, services, tree, volumes
from roles.common.volume_plan import unit_name
from roles.vault.settings import LOOPBACK, Settings
from roles.vault.users import users

OWNER, ROOM = "vault", "vault-room"
"""Whose the repositories are; whose group may write where the quota ends."""
OPTIONS = {
    APPEND: f"OPTIONS=--listen :{PORTS[APPEND]} --append-only --private-repos\n",
    CONTROL: f"OPTIONS=--listen {LOOPBACK}:{PORTS[CONTROL]} --append-only\n",
    ADMIN: f"OPTIONS=--listen {LOOPBACK}:{PORTS[ADMIN]}\n",
}
"""What is special about each listener, as its environment file."""
VERIFY = "systemd-analyze verify vault@append.service vault@admin.service"
UNITS = (
    *(
        Unit(
            f"vault@{listener}.service",
            (f"/etc/vault/{listener}.*", "/etc/vault/vault.*", "/etc/systemd/system/vault@.service"),
        )
        for listener in PORTS
    ),
    Unit("restic-rest-server.service", enabled=False, running=False),
)


@deploy("vault")
def vault() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    settings: Settings = host.data.settings["vault"]
    certificate, key = custody.check(site)
    volume = data_volume(site, host.data.host_name, settings)
    declared = host.data.declared.volumes
    repositories = f"{volume.mount}/repositories"

    packages("packages", {"restic-rest-server": "0.13"} | volumes.packages(declared))
    accounts("owner of the repositories", [Account(OWNER, system=True), Account(ROOM, system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: OWNER})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump()
        | {
            "mount": volume.mount,
            "mount_unit": unit_name(volume.mount),
            "repositories": repositories,
            "reserved_percent": 100 - settings.quota_percent,
            "room": ROOM,
        },
        generated={f"/etc/vault/{listener}.options": text for listener, text in OPTIONS.items()}
        | {f"/etc/vault/{listener}.htpasswd": text for listener, text in users(site).items()}
        | {"/etc/vault/vault.pem": certificate, "/etc/vault/vault.key": key},
        directories=(repositories,),
        modes={volume.mount: "0755", repositories: "0700", "/etc/vault": "0750", "/etc/vault/*": "0640"},
        owners={repositories: f"{OWNER}:{OWNER}", "/etc/vault": f"root:{OWNER}", "/etc/vault/*": f"root:{OWNER}"},
        secret=("/etc/vault/*.htpasswd", "/etc/vault/vault.key"),
        validate={"/etc/systemd/system/vault*": VERIFY},
    )
    services("services", UNITS)


def data_volume(site: LoadedSite, name: str, settings: Settings) -> Volume:
    """The volume the settings name. Raises InputError when the host does not declare it, or it is not ext4."""
    volume = site.fleet.hosts[name].volumes.get(settings.volume)
    if volume is None or volume.filesystem != "ext4":
        problem = f"no volume {settings.volume!r} for the repositories" if volume is None else "must be ext4"
        hint = f"declare volumes.{settings.volume} = {{ size_gb = ..., mount = ... }}: ext4 keeps room for admins"
        raise InputError(site.path, f"hosts.{name}.volumes", problem, hint)
    return volume
