"""The release server: nginx over the archive on its volume."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from roles.common import Account, accounts, nginx, packages, services, tree, volumes
from roles.release.settings import Settings

METHODS = ("GET", "HEAD", "OPTIONS")
DOT_DIRECTORIES = ("well-known",)


@deploy("release")
def release() -> None:
    """Puts the host into service, or finds that it is."""
    settings: Settings = host.data.settings["release"]
    volume = nginx.content_volume(host.data.site, host.data.host_name, settings)
    declared = host.data.declared.volumes

    packages("packages", nginx.PACKAGES | volumes.packages(declared))
    accounts("owner of the archive", [Account("release", system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: "release"})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump(),
        generated=nginx.files(settings, volume, METHODS, DOT_DIRECTORIES),
        directories=(f"{volume.mount}/public",),
        modes=nginx.MODES | {volume.mount: "0755", f"{volume.mount}/public": "0755"},
        owners=nginx.OWNERS | {f"{volume.mount}/public": "release:release"},
        validate=nginx.VALIDATE,
    )
    services("services", nginx.UNITS)
