"""The website: nginx over the pages on its volume."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventories.inventory import LoadedSite
from roles.common import Account, accounts, nginx, packages, services, tree, volumes
from roles.common.nginx.obtained import obtained
from roles.web.settings import Settings

METHODS = ("GET", "HEAD")
DOT_DIRECTORIES = ("well-known", "messages")


@deploy("web")
def web() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    name: str = host.data.host_name
    settings: Settings = host.data.settings["web"]
    volume = nginx.content_volume(site, name, settings)
    declared = host.data.declared.volumes

    packages("packages", nginx.packages(settings) | volumes.packages(declared))
    accounts("owner of the pages", [Account("web", system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: "web"})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump() | {"redirects": settings.places()},
        generated=nginx.files(site, name, settings, METHODS, DOT_DIRECTORIES),
        directories=(f"{volume.mount}/public", *nginx.certificate.DIRECTORIES),
        absent=nginx.absent(site, settings),
        modes=nginx.MODES | {volume.mount: "0755", f"{volume.mount}/public": "0755"},
        owners=nginx.OWNERS | {f"{volume.mount}/public": "web:web"},
        secret=nginx.SECRET,
        validate=nginx.VALIDATE,
    )
    services("services", nginx.UNITS)
    obtained(name="certificate")
