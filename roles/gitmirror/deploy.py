"""The mirror: a timer that fetches from Gerrit, and nginx with git's own http backend over what was fetched."""

import json
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventories import trusted
from inventories.inventory import LoadedSite
from roles.common import Account, Unit, accounts, metrics, nginx, packages, services, tree, volumes
from roles.common.nginx.obtained import obtained
from roles.common.volume_plan import unit_name
from roles.gitmirror.program import INSTALLED, program
from roles.gitmirror.settings import Settings

PACKAGES: dict[str, str | None] = {"fcgiwrap": None, "git": None, "python3": "3.11"}
OWNER = "gitmirror"
METHODS = ("GET", "HEAD", "POST")
DOT_DIRECTORIES = ("well-known",)
FETCHING, SERVING = "mainstay-gitmirror", "mainstay-gitmirror-serve"
UNITS = "/etc/systemd/system"
CONFIG = "/etc/mainstay/gitmirror"
AUTHORITY = f"{CONFIG}/roots.pem"
"""Where the source's certificate is of no public authority (the lab)."""
FOLDERS = ("public", "incoming")


def plan(settings: Settings, mount: str, *, has_authority: bool) -> str:
    """What the program is told (fetching/plan.py)."""
    told = settings.model_dump(
        include={
            *("source", "include", "exclude", "refs", "parallel"),
            *("fetch_minutes", "gone_days", "gone_percent", "kept_days"),
        }
    )
    places = {"folder": mount, "state": "/var/lib/gitmirror", "metrics": metrics.FOLDER}
    return json.dumps(told | places | {"authority": AUTHORITY if has_authority else ""}, indent=2) + "\n"


@deploy("gitmirror")
def gitmirror() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    name: str = host.data.host_name
    settings: Settings = host.data.settings["gitmirror"]
    volume = nginx.content_volume(site, name, settings)
    declared = host.data.declared.volumes
    folders = [f"{volume.mount}/{one}" for one in FOLDERS]
    roots = site.files / trusted.ROOTS
    own: dict[str, str | bytes] = {
        INSTALLED: program(),
        f"{CONFIG}/plan.json": plan(settings, volume.mount, has_authority=roots.exists()),
    }
    if roots.exists():
        own[AUTHORITY] = roots.read_text()

    packages("packages", nginx.packages(settings) | PACKAGES | volumes.packages(declared))
    accounts("owner of the repositories", [Account(OWNER, system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: OWNER})
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump() | {"mount": volume.mount, "mount_unit": unit_name(volume.mount)},
        generated=own | nginx.files(site, name, settings, METHODS, DOT_DIRECTORIES),
        directories=(*folders, metrics.FOLDER, *nginx.certificate.DIRECTORIES),
        absent=(*nginx.absent(site, settings), *({AUTHORITY} - {*own})),
        modes=nginx.MODES | {volume.mount: "0755", metrics.FOLDER: "0775"} | dict.fromkeys(folders, "0755"),
        owners=nginx.OWNERS | {metrics.FOLDER: f"root:{OWNER}"} | dict.fromkeys(folders, f"{OWNER}:{OWNER}"),
        secret=nginx.SECRET,
        validate=nginx.VALIDATE
        | {f"{UNITS}/mainstay-gitmirror*": f"systemd-analyze verify {FETCHING}.timer {SERVING}.socket"},
    )
    services(
        "services",
        (
            *nginx.UNITS,
            Unit("fcgiwrap.socket", enabled=False, running=False),
            Unit("fcgiwrap.service", enabled=False, running=False),
            Unit(f"{SERVING}.socket"),
            Unit(f"{SERVING}.service"),
            Unit(f"{FETCHING}.timer", (f"{UNITS}/{FETCHING}.service", f"{CONFIG}/plan.json", INSTALLED)),
        ),
    )
    obtained(name="certificate")
