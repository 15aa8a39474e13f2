"""Gerrit: the code review and its repositories, behind nginx."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventories.errors import InputError
from inventories.files import sha256
from inventories.inventory import LoadedSite
from roles.common import Account, Unit, accounts, nginx, packages, services, tree, volumes
from roles.common.nginx.obtained import obtained
from roles.common.volume_plan import unit_name
from roles.gerrit import secure
from roles.gerrit.artifact import artifact
from roles.gerrit.settings import HTTP_PORT, SSH_PORT, Settings, War

PACKAGES: dict[str, str | None] = {"openjdk-21-jre-headless": None, "git": None, "curl": None}
OWNER = "gerrit"
UNIT, PROGRAMS = "gerrit.service", tuple(f"/usr/local/lib/mainstay/gerrit_{one}.py" for one in ("site", "account"))
STATE = Unit("mainstay-gerrit-state.timer", files=("/etc/systemd/system/mainstay-gerrit-state.service",))
METRICS = "/var/lib/prometheus/node-exporter"
TOKEN, NGINX = "/etc/gerrit/token", "/etc/nginx/http.d/gerrit.conf"
JGIT = "[receive]\n\tautogc = false\n[uploadpack]\n\tallowFilter = true\n"
"""The whole jgit.config: as `init` would write it, and that who wants no large files need not fetch them."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def war_path(war: War) -> str:
    """Where the war of a version lies on the host."""
    return f"/opt/gerrit/gerrit-{war.version}.war"


def config(context: dict[str, object]) -> str:
    """The whole gerrit.config."""
    here = FileSystemLoader(Path(__file__).parent)
    loader = Environment(loader=here, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701  # not HTML
    return loader.get_template("gerrit.config.j2").render(context)


def check(site: LoadedSite, war: War) -> None:
    """Raises InputError when a war of this machine is not there, or another one."""
    if war.source.startswith("https://"):
        return
    hint = "name a file of this machine, or an https address"
    try:
        found = sha256(Path(war.source))
    except OSError as error:
        raise InputError(site.path, "settings.gerrit.war.source", f"{war.source}: {error.strerror}", hint) from None
    if found != war.sha256:
        told = f"{war.source} has the SHA-256 {found}, and {war.sha256} is declared"
        raise InputError(site.path, "settings.gerrit.war.sha256", told, "compare both with what the project publishes")


@deploy("gerrit")
def gerrit() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    name: str = host.data.host_name
    settings: Settings = host.data.settings["gerrit"]
    volume = nginx.content_volume(site, name, settings)
    declared = host.data.declared.volumes
    folder = f"{volume.mount}/site"
    check(site, settings.war)
    token = secure.token(site)
    secrets = {TOKEN: token.get_secret_value(), f"{folder}/etc/secure.config": secure.secure_config(token)}
    context = settings.model_dump() | {
        "mount": volume.mount,
        "mount_unit": unit_name(volume.mount),
        "site": folder,
        "war": war_path(settings.war),
        "name": nginx.certificate.names(site, name)[0],
        "names": nginx.certificate.names(site, name),
        "ssh_port": SSH_PORT,
        "http_port": HTTP_PORT,
        "account": secure.ACCOUNT,
        "metrics": METRICS,
        "header": secure.header(token),
    }

    packages("packages", nginx.packages(settings) | PACKAGES | volumes.packages(declared))
    accounts("owner of the site", [Account(OWNER, system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: OWNER})
    artifact("war", war_path(settings.war), settings.war.sha256, settings.war.source)
    tree(
        "files",
        Path(__file__).parent / "tree",
        context,
        generated=nginx.files(site, name, settings, METHODS, ())
        | {f"{folder}/etc/gerrit.config": config(context), f"{folder}/etc/jgit.config": JGIT}
        | secrets,
        directories=(folder, f"{folder}/etc", METRICS, *nginx.certificate.DIRECTORIES),
        absent=nginx.absent(site, settings),
        modes=nginx.MODES
        | {volume.mount: "0755", f"{folder}*": "0750", f"{folder}/etc/*": "0640", NGINX: "0640", METRICS: "0775"}
        | dict.fromkeys(secrets, "0600"),
        owners=nginx.OWNERS | {f"{folder}*": f"{OWNER}:{OWNER}", NGINX: "root:www-data", METRICS: f"root:{OWNER}"},
        secret=(*nginx.SECRET, *secrets),
        validate=nginx.VALIDATE | {"/etc/systemd/system/*gerrit*": f"systemd-analyze verify {UNIT} {STATE.name}"},
    )
    configured = (f"{folder}/etc/gerrit.config", f"{folder}/etc/jgit.config")
    services("services", (*nginx.UNITS, Unit(UNIT, (*configured, *PROGRAMS, *secrets)), STATE))
    obtained(name="certificate")
