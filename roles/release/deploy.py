"""The release server: nginx over the archive on its volume."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from roles.common import Account, accounts, nginx, packages, services, tree, volumes
from roles.release.archive import METADATA, PUBLIC, PUBLICATIONS
from roles.release.settings import Settings

PACKAGES: dict[str, str | None] = {"rsync": None}
"""By which releases come."""
METHODS = ("GET", "HEAD", "OPTIONS")
DOT_DIRECTORIES = ("well-known",)


@deploy("release")
def release() -> None:
    """Puts the host into service, or finds that it is."""
    settings: Settings = host.data.settings["release"]
    volume = nginx.content_volume(host.data.site, host.data.host_name, settings)
    declared = host.data.declared.volumes
    folders = [f"{volume.mount}/{name}" for name in (PUBLIC, METADATA, PUBLICATIONS)]

    packages("packages", nginx.PACKAGES | PACKAGES | volumes.packages(declared))
    accounts("owner of the archive", [Account("release", system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: "release"})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump() | {"mount": volume.mount},
        generated=nginx.files(settings, volume, METHODS, DOT_DIRECTORIES),
        directories=folders,
        modes=nginx.MODES | {volume.mount: "0755"} | dict.fromkeys(folders, "0755"),
        owners=nginx.OWNERS | dict.fromkeys(folders, "release:release"),
        validate=nginx.VALIDATE,
    )
    services("services", nginx.UNITS)
