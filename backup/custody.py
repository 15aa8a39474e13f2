"""Who holds what of the backups: which data is saved, the one vault, and the secrets and certificate that both need.

Secrets by name (in host names `-` becomes `_`): `vault_tls_key`, `vault_control`, `vault_admin`, `vault_HOST` for each
host whose data is saved, `backup_HOST_PLAN` for each data set. Passwords are 256 random bits, in characters that an
address takes as they are. The certificate is public and lies beside the secrets, in `vault.pem`: it signs itself, and
whoever connects to the vault trusts it and no authority.

A fleet with a control host has `control_ssh_key` and `control_age_key` too. That host may read what is tagged for it:
`vault_control`, every `backup_HOST_PLAN`, and of the secrets that an admin enters those in BY_HAND. Where the fleet has
drills it may read, tagged `drill`, what those need: the key of their account, and every `vault_HOST`.
"""

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module

from pydantic import SecretStr

from backup.certificate import TLS_KEY, new_key, problems, self_signed
from backup.recovery import Recovery
from inventories import departed, editing, keys
from inventories.errors import InputError
from inventories.files import replace
from inventories.fleet import Fleet, Host
from inventories.inventory import CONTROL_RECIPIENT, LoadedSite
from inventories.roles import roles_of
from inventories.secrets import CONTROL as TAG
from inventories.secrets import CONTROL_KEY, DRILL, Secrets

ROLE = "vault"
APPEND, CONTROL, ADMIN = "append", "control", "admin"
"""The vault's listeners: hosts, which add; the control side, which adds and sees all; admins, who may delete."""
PORTS = {APPEND: 8000, CONTROL: 8001, ADMIN: 8002}
LOGINS = {CONTROL: "vault_control", ADMIN: "vault_admin"}
"""The secret with the password of a listener's one user, who is called like it."""
CERTIFICATE = "vault.pem"
CONTROL_ROLE = "control"
SSH_KEY, AGE_KEY = "control_ssh_key", CONTROL_KEY
"""Secrets of the control host: what it logs in with, and what it reads secrets with."""
BY_HAND = ("copy_access_key", "copy_secret_key", "notify_webhook", "notify_ping")
"""Secrets that an admin enters and the control host may read."""


@dataclass(frozen=True, order=True)
class DataSet:
    """The data of one role on one host, which has a repository of its own."""

    host: str
    plan: str
    """The role's name."""

    def __str__(self) -> str:
        return f"{self.host}:{self.plan}"

    @property
    def secret(self) -> str:
        """Name of the secret that holds the repository's password."""
        return f"backup_{_word(self.host)}_{_word(self.plan)}"


def recovery(role: str) -> Recovery:
    """What a role says of its data: the constant of its recovery.py."""
    found: Recovery = import_module(f"roles.{role}.recovery").RECOVERY
    return found


def data_sets(fleet: Fleet) -> tuple[DataSet, ...]:
    """All that is saved: each role with data, of each host."""
    return tuple(data_set for name, host in fleet.hosts.items() for data_set in of_host(name, host))


def of_host(name: str, host: Host) -> tuple[DataSet, ...]:
    """What is saved of one host."""
    return tuple(DataSet(name, role) for role in roles_of(host) if recovery(role).consistency != "none")


def clients(fleet: Fleet) -> tuple[str, ...]:
    """The hosts that save data, each a user of the vault, in the fleet's order."""
    return tuple(dict.fromkeys(data.host for data in data_sets(fleet)))


def host_secret(host: str) -> str:
    """Name of the secret that holds a host's password at the vault."""
    return f"vault_{_word(host)}"


def vault_of(site: LoadedSite) -> tuple[str, Host] | None:
    """The site's one vault, by name; None when it has none. Raises InputError for a second one or one without names."""
    vaults = site.fleet.with_role(ROLE)
    if len(vaults) > 1:
        hint = "a repository lies on one vault; the second copy is made elsewhere"
        raise InputError(site.path, "hosts", f"more than one vault: {', '.join(vaults)}", hint)
    for name, host in vaults.items():
        if not host.dns:
            hint = f'clients reach it by name: dns = ["vault.{site.fleet.site.domain}"]'
            raise InputError(site.path, f"hosts.{name}.dns", "the vault has no name", hint)
        return name, host
    return None


def control_host(site: LoadedSite) -> str:
    """The name of the site's one control host; empty when it has none. Raises InputError for a second one."""
    names = tuple(site.fleet.with_role(CONTROL_ROLE))
    if len(names) > 1:
        hint = "the record of what was saved is kept by one host, and itself saved to the vault"
        raise InputError(site.path, "hosts", f"more than one control host: {', '.join(names)}", hint)
    return names[0] if names else ""


def for_control(fleet: Fleet) -> dict[str, str]:
    """The secrets that a control host may read, each with its tag: what reads and adds, and deletes nothing of the
    site's."""
    found = dict.fromkeys((LOGINS[CONTROL], *(data.secret for data in data_sets(fleet)), *BY_HAND), TAG)
    if fleet.drill:
        found |= dict.fromkeys((fleet.drill.api_key, *map(host_secret, clients(fleet))), DRILL)
    return found


def secret_names(site: LoadedSite) -> tuple[str, ...]:
    """Every secret of the backups, the key of the certificate first. Raises InputError when two would share a name."""
    fleet = site.fleet
    wanted = [
        (TLS_KEY, "the vault's key"),
        (LOGINS[CONTROL], "the control side"),
        (LOGINS[ADMIN], "the vault's admins"),
        *((host_secret(host), f"host {host}") for host in clients(fleet)),
        *((data.secret, f"data set {data}") for data in data_sets(fleet)),
        *((name, "the control host") for name in (SSH_KEY, AGE_KEY) if control_host(site)),
    ]
    for name, count in Counter(name for name, _ in wanted).items():
        if count > 1:
            owners = " and ".join(owner for other, owner in wanted if other == name)
            hint = "give the host another name"
            raise InputError(site.path, "hosts", f"the secret {name!r} would be that of {owners}", hint)
    return tuple(name for name, _ in wanted)


def command(site: LoadedSite) -> str:
    """What makes a secret that is missing."""
    return f"mainstay backup keys --inventory {site.path.with_suffix('.py')}"


def remedy(site: LoadedSite) -> str:
    """What to do about a secret or a file of the backups that is missing."""
    if site.fleet.backup.restore_from:
        return "it is that of the site whose backups are restored here: put it there as that site has it"
    return f"make it: {command(site)}"


def secret(site: LoadedSite, name: str) -> SecretStr:
    """A secret of the backups. Raises InputError, saying where it comes from."""
    if name not in site.secrets:
        raise InputError(site.secrets.path, name, "no such secret", remedy(site))
    return site.secrets[name]


def make(site: LoadedSite) -> tuple[str, ...]:
    """Makes the secrets and the public files that are missing, changes the value of none that is there.

    What the control host may read is encrypted to it too. Returns the names of what is new, then of what it was given.

    Raises InputError when the site has no vault, or its key cannot be read though the certificate is missing.
    """
    found = vault_of(site)
    if found is None:
        hint = f"declare a host with role = {ROLE!r}: see roles/{ROLE}/README.md"
        raise InputError(site.path, "hosts", "this site has no vault, so nothing is saved", hint)
    held = site.secrets.at(site.secrets.path)  # as they are now
    missing = [name for name in secret_names(site) if name not in held]
    certificate = site.files / CERTIFICATE
    certified = certificate.exists()
    if certified and TLS_KEY in missing:
        hint = f"restore the key from git; or remove {certificate.name}, run this again and deploy vault and clients"
        raise InputError(held.path, TLS_KEY, f"is missing, and {certificate} is of that key", hint)
    fresh = {name: _new(name) for name in missing}
    key = "" if certified else fresh.get(TLS_KEY) or held[TLS_KEY].get_secret_value()
    made = list(missing)
    recipient = site.files / CONTROL_RECIPIENT
    shared: Mapping[str, str] = {}
    if control_host(site):
        shared = for_control(site.fleet)
        if AGE_KEY in fresh or not recipient.exists():
            identity = fresh.get(AGE_KEY) or held[AGE_KEY].get_secret_value()
            replace(recipient, f"{keys.public_age(identity)}\n")
            made.append(recipient.name)
    wanted = {name: editing.Plain(value, (shared[name],) if name in shared else ()) for name, value in fresh.items()}
    given = {
        name: editing.Plain(held[name].get_secret_value(), _tagged(held, name, shared[name]))
        for name in _kept(site, held, shared)
    }
    if wanted or given:
        write(site, held, wanted | given)
    if not certified:
        replace(certificate, self_signed(key, found[1].dns))
        made.append(certificate.name)
    departed.strike(held.path, missing)
    return (*made, *given)


def renew(site: LoadedSite, name: str) -> None:
    """Another value for a secret of the backups, and what follows from it. Not for a data set's password: without its
    repository (backup/rotation.py) a new one opens nothing.

    Raises InputError.
    """
    held = site.secrets.at(site.secrets.path)
    for follows in {TLS_KEY: (CERTIFICATE,), AGE_KEY: (CONTROL_RECIPIENT,)}.get(name, ()):
        (site.files / follows).unlink(missing_ok=True)
    if name in held:
        write(site, held, {name: editing.Plain(_new(name), held.entries[name].tags)})
    make(site)
    departed.strike(held.path, [name])


def _new(name: str) -> str:
    makers = {TLS_KEY: new_key, SSH_KEY: keys.new_ssh, AGE_KEY: keys.new_age}
    return makers[name]() if name in makers else new_password()


def _tagged(held: Secrets, name: str, tag: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*held.entries[name].tags, tag)))


def _kept(site: LoadedSite, held: Secrets, shared: Mapping[str, str]) -> list[str]:
    """Which of the secrets that are there the control host should be able to read, and cannot."""
    if not shared:
        return []
    [label] = (keys.label(line) for line in site.readers[TAG])
    return [
        name
        for name in held
        if name in shared
        and (shared[name] not in held.entries[name].tags or f"{TAG} {label}" not in held.entries[name].readers)
    ]


def check(site: LoadedSite) -> tuple[str, str]:
    """The vault's certificate and key, when all is there that a deploy needs. Raises InputError, saying how to mend it.

    Looks at the names of all secrets, so that no host is changed by a deploy that would stop at a later one.
    """
    vault = vault_of(site)
    assert vault, "a vault is deployed, so there is one"
    missing = [name for name in secret_names(site) if name not in site.secrets]
    if missing:
        raise InputError(site.secrets.path, ", ".join(missing), "no such secret", f"make it: {command(site)}")
    recipient = site.files / CONTROL_RECIPIENT
    if control_host(site) and not recipient.exists():
        raise InputError(recipient, "", "is not there", f"make it: {command(site)}")
    key, text = site.secrets[TLS_KEY].get_secret_value(), certificate(site)
    for problem in problems(text, key, vault[1].dns, datetime.now(UTC)):
        hint = f"remove it, make a new one: {command(site)}; then deploy the vault and all that it saves"
        raise InputError(site.files / CERTIFICATE, "", problem, hint)
    return text, key


def certificate(site: LoadedSite) -> str:
    """The vault's, which is public. Raises InputError, saying where it comes from."""
    path = site.files / CERTIFICATE
    try:
        return path.read_text()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}", remedy(site)) from None


def write(site: LoadedSite, held: Secrets, wanted: editing.Changes) -> None:
    """Stores secrets, encrypted to whom each is for. held: as they were read; later changes are not overwritten."""
    editing.apply(held.path, held.entries, wanted, site.readers)


def new_password() -> str:
    """256 random bits, in characters that an address takes as they are."""
    return secrets.token_urlsafe(32)


def _word(name: str) -> str:
    return name.replace("-", "_")
