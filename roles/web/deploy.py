"""The website: nginx over the release of it that its volume links to."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from roles.common import Account, accounts, nginx, packages, services, tree, volumes
from roles.web.archive import COMPRESSED, PUBLIC
from roles.web.settings import Settings

PACKAGES: dict[str, str | None] = {"python3": "3.11", "rsync": None}
"""By which it is published."""
METHODS = ("GET", "HEAD")
DOT_DIRECTORIES = ("well-known", "messages")


@deploy("web")
def web() -> None:
    """Puts the host into service, or finds that it is."""
    settings: Settings = host.data.settings["web"]
    volume = nginx.content_volume(host.data.site, host.data.host_name, settings)
    declared = host.data.declared.volumes
    kept = tuple(f"{volume.mount}/{name}" for name in ("releases", "incoming"))

    packages("packages", nginx.PACKAGES | PACKAGES | volumes.packages(declared))
    accounts("owner of the pages", [Account("web", system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: "web"})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump() | {"redirects": settings.places(), "compressed": COMPRESSED},
        generated=nginx.files(settings, volume, METHODS, DOT_DIRECTORIES),
        directories=kept,
        linkable=(f"{volume.mount}/{PUBLIC}",),  # nothing is published yet, or what is served
        modes=nginx.MODES | dict.fromkeys((volume.mount, *kept), "0755"),
        owners=nginx.OWNERS | dict.fromkeys(kept, "web:web"),
        validate=nginx.VALIDATE,
    )
    services("services", nginx.UNITS)
