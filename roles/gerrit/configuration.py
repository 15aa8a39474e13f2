"""The files of Gerrit's site that a deploy writes: their whole content, from settings and secrets. Touches no host."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import SecretStr

from inventories.inventory import LoadedSite
from roles.base.settings import Mail
from roles.gerrit import auth, config_text, mail, secure
from roles.gerrit.auth import LdapAuth
from roles.gerrit.settings import HTTP_PORT, INDEXES, SSH_PORT, Settings

FILES = ("lfs.config", "replication.config")


def gerrit_config(site: LoadedSite, settings: Settings, name: str, smarthost: Mail | None) -> str:
    """The whole gerrit.config. name: of the server. Raises InputError."""
    more = {
        **auth.sections(settings.auth, name),
        "sendemail": mail.section(site, settings, smarthost),
        **config_text.plain(settings.sections),
    }
    here = FileSystemLoader(Path(__file__).parent)
    loader = Environment(loader=here, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701  # not HTML
    context = settings.model_dump() | {"name": name, "http_port": HTTP_PORT, "ssh_port": SSH_PORT, "indexes": INDEXES}
    return loader.get_template("gerrit.config.j2").render(context, more=config_text.text(more))


def secure_config(site: LoadedSite, settings: Settings, token: SecretStr, smarthost: Mail | None) -> str:
    """The whole secure.config. Raises InputError when a secret is not there."""
    names: dict[str, dict[str, str]] = {}
    if isinstance(settings.auth, LdapAuth) and settings.auth.password:
        names["ldap"] = {"password": settings.auth.password}
    if password := mail.secret_name(settings, smarthost):
        names["sendemail"] = {"smtpPass": password}
    for sections in (settings.sections, *settings.files.values()):
        for section, keys in config_text.secret(sections).items():
            names[section] = names.get(section, {}) | keys
    values = {
        section: {key: site.secrets[secret].get_secret_value() for key, secret in keys.items()}
        for section, keys in names.items()
    }
    return secure.secure_config(token, values)


def files(settings: Settings) -> dict[str, str]:
    """Of plugins, by name below etc/."""
    return {name: config_text.text(config_text.plain(sections)) for name, sections in settings.files.items()}


def declared(settings: Settings) -> str:
    """What the unit's programs go by: JSON with `outgoing`, and `versions`, that of a new site first, each with its
    `plugins` by name with `version` and `sends`."""
    versions = {
        war.version: {"plugins": {one.name: {"version": one.version, "sends": one.sends} for one in plugins}}
        for war, plugins in settings.wars().values()
    }
    return json.dumps({"outgoing": settings.outgoing, "versions": versions}, indent=2) + "\n"
