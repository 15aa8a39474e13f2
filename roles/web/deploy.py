"""The website: nginx over the release of it that its volume links to."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventories.inventory import LoadedSite
from roles.common import Account, accounts, nginx, packages, services, tree, volumes
from roles.common.nginx.obtained import obtained
from roles.web import maintenance
from roles.web.archive import COMPRESSED, PUBLIC
from roles.web.settings import Settings

PACKAGES: dict[str, str | None] = {"python3": "3.11", "rsync": None}
"""By which it is published."""
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
    kept = tuple(f"{volume.mount}/{one}" for one in ("releases", "incoming"))

    packages("packages", nginx.packages(settings) | PACKAGES | volumes.packages(declared))
    accounts("owner of the pages", [Account("web", system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: "web"})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump()
        | {"redirects": settings.places(), "compressed": COMPRESSED}
        | {"in_maintenance": maintenance.context(DOT_DIRECTORIES)},
        generated=nginx.files(site, name, settings, METHODS, DOT_DIRECTORIES)
        | maintenance.files(site.fleet.site.domain, settings),
        directories=(*kept, *nginx.certificate.DIRECTORIES),
        linkable=(f"{volume.mount}/{PUBLIC}",),  # nothing is published yet, or what is served
        absent=(*nginx.absent(site, settings), *maintenance.absent(settings)),
        modes=nginx.MODES | dict.fromkeys((volume.mount, *kept), "0755"),
        owners=nginx.OWNERS | dict.fromkeys(kept, "web:web"),
        secret=nginx.SECRET,
        validate=nginx.VALIDATE,
    )
    services("services", nginx.UNITS)
    obtained(name="certificate")
