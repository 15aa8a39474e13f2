"""Who holds what of the backups: which data is saved, the one vault, and the secrets and certificate that both need.

Secrets by name (in host names `-` becomes `_`): `vault_tls_key`, `vault_control`, `vault_admin`, `vault_HOST` for each
host whose data is saved, `backup_HOST_PLAN` for each data set. Passwords are 256 random bits, in characters that an
address takes as they are. The certificate is public and lies beside the secrets, in `vault.pem`: it signs itself, and
whoever connects to the vault trusts it and no authority.
"""

import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr

from backup.recovery import Recovery
from inventories import editing
from inventories.errors import InputError
from inventories.files import replace
from inventories.fleet import Fleet, Host
from inventories.inventory import LoadedSite, roles_of
from inventories.secrets import Secrets

ROLE = "vault"
APPEND, CONTROL, ADMIN = "append", "control", "admin"
"""The vault's listeners: hosts, which add; the control side, which adds and sees all; admins, who may delete."""
PORTS = {APPEND: 8000, CONTROL: 8001, ADMIN: 8002}
TLS_KEY = "vault_tls_key"
LOGINS = {CONTROL: "vault_control", ADMIN: "vault_admin"}
"""The secret with the password of a listener's one user, who is called like it."""
CERTIFICATE = "vault.pem"
FORWARDED = ("localhost", "127.0.0.1")
"""What the vault is called by those who reach it through SSH."""
VALID_DAYS = 3650
RENEW_DAYS = 30
"""A certificate with less to live than this is refused by a deploy."""


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


def secret_names(site: LoadedSite) -> tuple[str, ...]:
    """Every secret of the backups, the key of the certificate first. Raises InputError when two would share a name."""
    fleet = site.fleet
    wanted = [
        (TLS_KEY, "the vault's key"),
        (LOGINS[CONTROL], "the control side"),
        (LOGINS[ADMIN], "the vault's admins"),
        *((host_secret(host), f"host {host}") for host in clients(fleet)),
        *((data.secret, f"data set {data}") for data in data_sets(fleet)),
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


def secret(site: LoadedSite, name: str) -> SecretStr:
    """A secret of the backups. Raises InputError, naming the command that makes it."""
    if name not in site.secrets:
        raise InputError(site.secrets.path, name, "no such secret", f"make it: {command(site)}")
    return site.secrets[name]


def make(site: LoadedSite) -> tuple[str, ...]:
    """Makes the secrets and the certificate that are missing, changes none that is there; returns the names of the new.

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
    fresh = {name: new_key() if name == TLS_KEY else new_password() for name in missing}
    key = "" if certified else fresh.get(TLS_KEY) or held[TLS_KEY].get_secret_value()
    if missing:
        write(site, held, {name: editing.Plain(value) for name, value in fresh.items()})
    if certified:
        return tuple(missing)
    replace(certificate, self_signed(key, found[1].dns))
    return (*missing, certificate.name)


def check(site: LoadedSite) -> tuple[str, str]:
    """The vault's certificate and key, when all is there that a deploy needs. Raises InputError, saying how to mend it.

    Looks at the names of all secrets, so that no host is changed by a deploy that would stop at a later one.
    """
    vault = vault_of(site)
    assert vault, "a vault is deployed, so there is one"
    missing = [name for name in secret_names(site) if name not in site.secrets]
    if missing:
        raise InputError(site.secrets.path, ", ".join(missing), "no such secret", f"make it: {command(site)}")
    key, text = site.secrets[TLS_KEY].get_secret_value(), certificate(site)
    for problem in problems(text, key, vault[1].dns, datetime.now(UTC)):
        hint = f"remove it, make a new one: {command(site)}; then deploy the vault and all that it saves"
        raise InputError(site.files / CERTIFICATE, "", problem, hint)
    return text, key


def certificate(site: LoadedSite) -> str:
    """The vault's, which is public. Raises InputError, naming the command that makes it."""
    path = site.files / CERTIFICATE
    try:
        return path.read_text()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}", f"make it: {command(site)}") from None


def write(site: LoadedSite, held: Secrets, wanted: editing.Changes) -> None:
    """Stores secrets, encrypted to the admins. held: as they were read; what changed since then is not overwritten."""
    editing.apply(held.path, held.entries, wanted, site.admins.recipients())


def new_password() -> str:
    """256 random bits, in characters that an address takes as they are."""
    return secrets.token_urlsafe(32)


def new_key() -> str:
    """A private key (ECDSA P-256) in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def self_signed(key_pem: str, names: tuple[str, ...]) -> str:
    """A server's certificate of its own making for these DNS names and for the end of an SSH forwarding, in PEM."""
    key = load_pem_private_key(key_pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    start = datetime.now(UTC) - timedelta(days=1)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in (*names, *FORWARDED)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def problems(certificate_pem: str, key_pem: str, names: tuple[str, ...], now: datetime) -> Iterator[str]:
    """What is wrong with a certificate for a vault of these names."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        key = load_pem_private_key(key_pem.encode(), None)
    except (ValueError, TypeError):
        yield f"it or the secret {TLS_KEY} is not PEM"
        return
    if _public(certificate.public_key()) != _public(key.public_key()):
        yield f"it is not of the key in the secret {TLS_KEY}"
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in names:
        if _general_name(name) not in list(held):
            yield f"it is not for {name}"
    if certificate.not_valid_after_utc < now + timedelta(days=RENEW_DAYS):
        yield f"it is valid only until {certificate.not_valid_after_utc:%Y-%m-%d}"


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _word(name: str) -> str:
    return name.replace("-", "_")
