"""The release server: nginx over the archive on its volume."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from backup.agent.answering import READER
from inventories.inventory import LoadedSite
from roles.common import Account, Unit, accounts, nginx, packages, services, tree, volumes
from roles.common.nginx.obtained import obtained
from roles.release.archive import METADATA, PUBLIC, PUBLICATIONS
from roles.release.settings import Settings
from roles.release.tools.audit.reader import reader

PACKAGES: dict[str, str | None] = {"rsync": None}
"""By which releases come."""
METHODS = ("GET", "HEAD", "OPTIONS")
DOT_DIRECTORIES = ("well-known",)
NEVER_REDIRECTED = ("ota", "factory", "device-flasher")
"""Update clients take the body of a redirect for the metadata they asked for."""

READING = "mainstay-release-read"
UNITS = (*nginx.UNITS, Unit(f"{READING}.timer", (f"/etc/systemd/system/{READING}.service",)))


@deploy("release")
def release() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    name: str = host.data.host_name
    settings: Settings = host.data.settings["release"]
    volume = nginx.content_volume(site, name, settings)
    declared = host.data.declared.volumes
    folders = [f"{volume.mount}/{one}" for one in (PUBLIC, METADATA, PUBLICATIONS)]

    packages("packages", nginx.packages(settings) | PACKAGES | volumes.packages(declared))
    accounts("owner of the archive", [Account("release", system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: "release"})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump() | {"mount": volume.mount},
        generated=nginx.files(site, name, settings, METHODS, DOT_DIRECTORIES, NEVER_REDIRECTED) | {READER: reader()},
        directories=(*folders, *nginx.certificate.DIRECTORIES),
        absent=nginx.absent(site, settings),
        modes=nginx.MODES | {volume.mount: "0755"} | dict.fromkeys(folders, "0755"),
        owners=nginx.OWNERS | dict.fromkeys(folders, "release:release"),
        secret=nginx.SECRET,
        validate=nginx.VALIDATE | {f"/etc/systemd/system/{READING}.*": f"systemd-analyze verify {READING}.timer"},
    )
    services("services", UNITS)
    obtained(name="certificate")
