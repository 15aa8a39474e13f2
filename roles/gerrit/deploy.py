"""Gerrit: the code review and its repositories, behind nginx."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventories.errors import InputError
from inventories.files import sha256
from inventories.inventory import LoadedSite
from roles.base.settings import Settings as Base
from roles.common import Account, Unit, accounts, metrics, nginx, packages, services, tree, volumes
from roles.common.nginx.obtained import obtained
from roles.common.volume_plan import unit_name
from roles.gerrit import configuration, secure
from roles.gerrit.artifact import Artifact, artifacts
from roles.gerrit.auth import password_file
from roles.gerrit.loaded import loaded
from roles.gerrit.settings import HTTP_PORT, SSH_PORT, Settings

WARS = "/opt/gerrit"
"""Each version's war, and a folder with its plugins; gerrit_site.py puts those of the site's version in their place."""
PACKAGES: dict[str, str | None] = {"openjdk-21-jre-headless": None, "git": None, "curl": None}
OWNER = "gerrit"
UNIT, PROGRAMS = "gerrit.service", tuple(f"/usr/local/lib/mainstay/gerrit_{one}.py" for one in ("site", "account"))
STATE = Unit("mainstay-gerrit-state.timer", files=("/etc/systemd/system/mainstay-gerrit-state.service",))
TOKEN, DECLARED, NGINX = "/etc/gerrit/token", "/etc/gerrit/declared.json", "/etc/nginx/http.d/gerrit.conf"
PASSWORDS = "/etc/nginx/gerrit.htpasswd"
JGIT = (
    "[receive]\n\tautogc = false\n[uploadpack]\n\tallowFilter = true\n"
    "[core]\n\tfsyncObjectFiles = true\n\tfsyncRefFiles = true\n"
)
"""The whole jgit.config: as `init` would write it; that who wants no large files need not fetch them; and that a push
is on the disk when it is acknowledged."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def wanted(settings: Settings) -> dict[str, Artifact]:
    """What has to be brought, by its name in the settings."""
    found = {}
    for name, (war, plugins) in settings.wars().items():
        found[name] = Artifact(f"{WARS}/gerrit-{war.version}.war", war.sha256, war.source)
        for one in plugins:
            field = f"upgrade.plugins.{one.name}" if name == "upgrade" else f"plugins.{one.name}"
            found[field] = Artifact(f"{WARS}/{war.version}/{one.name}.jar", one.sha256, one.source)
    return found


def check(site: LoadedSite, name: str, artifact: Artifact) -> None:
    """Raises InputError when a file of this machine is not there, or another one. name: in the settings."""
    if artifact.source.startswith("https://"):
        return
    field, hint = f"settings.gerrit.{name}", "name a file of this machine, or an https address"
    try:
        found = sha256(Path(artifact.source))
    except OSError as error:
        raise InputError(site.path, f"{field}.source", f"{artifact.source}: {error.strerror}", hint) from None
    if found != artifact.sha256:
        told = f"{artifact.source} has the SHA-256 {found}, and {artifact.sha256} is declared"
        raise InputError(site.path, f"{field}.sha256", told, "compare both with what the project publishes")


@deploy("gerrit")
def gerrit() -> None:
    """Puts the host into service, or finds that it is."""
    site: LoadedSite = host.data.site
    name: str = host.data.host_name
    settings: Settings = host.data.settings["gerrit"]
    base: Base = host.data.settings["base"]
    volume = nginx.content_volume(site, name, settings)
    declared = host.data.declared.volumes
    folder = f"{volume.mount}/site"
    brought = wanted(settings)
    for field, artifact in brought.items():
        check(site, field, artifact)
    token, names = secure.token(site), nginx.certificate.names(site, name)
    passwords = {PASSWORDS: file} if (file := password_file(site, settings.auth)) else {}
    secrets = {
        TOKEN: token.get_secret_value(),
        f"{folder}/etc/secure.config": configuration.secure_config(site, settings, token, base.mail),
    }
    config = {
        f"{folder}/etc/gerrit.config": configuration.gerrit_config(site, settings, names[0], base.mail),
        f"{folder}/etc/jgit.config": JGIT,
        **{f"{folder}/etc/{file}": content for file, content in configuration.files(settings).items()},
    }
    unused = {f"{folder}/etc/{file}" for file in configuration.FILES} - config.keys()
    context = settings.model_dump() | {
        "mount": volume.mount,
        "mount_unit": unit_name(volume.mount),
        "site": folder,
        "names": names,
        "ssh_port": SSH_PORT,
        "http_port": HTTP_PORT,
        "account": secure.ACCOUNT,
        "metrics": metrics.FOLDER,
        "header": secure.header(token),
        "passwords": PASSWORDS if passwords else "",
    }

    packages("packages", nginx.packages(settings) | PACKAGES | volumes.packages(declared))
    accounts("owner of the site", [Account(OWNER, system=True)])
    volumes.volumes("volumes", declared, host.data.locked.volumes, owners={settings.volume: OWNER})
    artifacts("war and plugins", tuple(brought.values()))
    tree(
        "files",
        Path(__file__).parent / "tree",
        context,
        generated=nginx.files(site, name, settings, METHODS, ())
        | {DECLARED: configuration.declared(settings)}
        | config
        | secrets
        | passwords,
        directories=(
            folder,
            f"{folder}/etc",
            f"{folder}/plugins",
            f"{folder}/restored",
            metrics.FOLDER,
            *nginx.certificate.DIRECTORIES,
        ),
        absent=(
            *nginx.absent(site, settings),
            f"{folder}/restored/silent",
            *unused,
            *(() if passwords else (PASSWORDS,)),
        ),
        modes=nginx.MODES
        | {volume.mount: "0755", f"{folder}*": "0750", f"{folder}/etc/*": "0640", metrics.FOLDER: "0775"}
        | dict.fromkeys((NGINX, PASSWORDS), "0640")
        | dict.fromkeys(secrets, "0600"),
        owners=nginx.OWNERS
        | {f"{folder}*": f"{OWNER}:{OWNER}", metrics.FOLDER: f"root:{OWNER}"}
        | dict.fromkeys((NGINX, PASSWORDS), "root:www-data"),
        secret=(*nginx.SECRET, *secrets, PASSWORDS),
        validate=nginx.VALIDATE | {"/etc/systemd/system/*gerrit*": f"systemd-analyze verify {UNIT} {STATE.name}"},
    )
    jars = [one.path for one in brought.values() if one.path.endswith(".jar")]
    # What went from the folder `restored` is seen, too.
    started_with = (*config, *jars, DECLARED, f"{folder}/restored", *PROGRAMS, *secrets)
    services("services", (*nginx.UNITS, Unit(UNIT, started_with), STATE))
    loaded("plugins are loaded", f"http://127.0.0.1:{HTTP_PORT}", secure.ACCOUNT)
    obtained(name="certificate")
