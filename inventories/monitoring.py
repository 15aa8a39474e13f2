"""Who watches a site and who is watched: the monitor host, and the small authority by which they know each other.

One secret, `monitor_tls_key`, and the certificate of it, `monitor.pem`, which is public and lies beside the secrets.
Each host's key and certificate follow from these two and the host's name alone: a deploy makes the same ones every
time, and a host that is added needs no step of its own. Ed25519 throughout: its signatures are deterministic.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr

from inventories import departed, editing
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import LoadedSite

ROLE = "monitor"
TLS_KEY = "monitor_tls_key"
"""The secret that holds the authority's key."""
CERTIFICATE = "monitor.pem"
WEBHOOK, PING = "notify_webhook", "monitor_ping"
"""Secrets that an admin may enter: where alerts are sent to, and what is pinged while all is well."""
VALID_DAYS = 3650
RENEW_DAYS = 30
"""An authority with less to live than this is refused by a deploy."""
USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Identity:
    """What a host shows others, and what it knows them by; all in PEM."""

    authority: str
    certificate: str
    key: SecretStr


def monitor_host(site: LoadedSite) -> str:
    """The name of the site's one monitor host; empty when it has none. Raises InputError for a second one."""
    names = tuple(site.fleet.with_role(ROLE))
    if len(names) > 1:
        hint = "one host watches all others, and is itself watched by the service that it pings"
        raise InputError(site.path, "hosts", f"more than one monitor host: {', '.join(names)}", hint)
    return names[0] if names else ""


def command(site: LoadedSite) -> str:
    """What makes the authority."""
    return f"mainstay monitor keys --inventory {site.path.with_suffix('.py')}"


def make(site: LoadedSite) -> tuple[str, ...]:
    """Makes what is missing of the authority, and changes nothing that is there; the names of what is new.

    Raises InputError when the site has no monitor host, or the key is missing and its certificate is not.
    """
    if not monitor_host(site):
        hint = f"declare a host with role = {ROLE!r}: see roles/{ROLE}/README.md"
        raise InputError(site.path, "hosts", "this site has no monitor host", hint)
    held = site.secrets.at(site.secrets.path)  # as they are now
    path = site.files / CERTIFICATE
    made = []
    if TLS_KEY not in held:
        if path.exists():
            hint = f"restore the key from git; or remove {CERTIFICATE}, run this again and deploy the site"
            raise InputError(held.path, TLS_KEY, f"is missing, and {path} is of that key", hint)
        editing.apply(held.path, held.entries, {TLS_KEY: editing.Plain(_new_key())}, site.readers)
        departed.strike(held.path, [TLS_KEY])
        held = held.at(held.path)
        made.append(TLS_KEY)
    if not path.exists():
        replace(path, _authority(_key(held[TLS_KEY]), site.name, datetime.now(UTC)))
        made.append(CERTIFICATE)
    return tuple(made)


def renew(site: LoadedSite) -> None:
    """Another authority: the next deploy gives every host another key, and the old ones open nothing. Raises
    InputError."""
    held = site.secrets.at(site.secrets.path)
    (site.files / CERTIFICATE).unlink(missing_ok=True)
    if TLS_KEY in held:
        editing.apply(held.path, held.entries, {TLS_KEY: editing.Plain(_new_key())}, site.readers)
    make(site)
    departed.strike(held.path, [TLS_KEY])


def identity(site: LoadedSite, host: str) -> Identity:
    """A host's own key and certificate, for its name and its address. Raises InputError, saying how to mend it."""
    path = site.files / CERTIFICATE
    if TLS_KEY not in site.secrets:
        raise InputError(site.secrets.path, TLS_KEY, "no such secret", f"make it: {command(site)}")
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}", f"make it: {command(site)}") from None
    locked = site.lock.hosts.get(host)
    names = (host, *([locked.ipv4] if locked and locked.ipv4 else []))
    try:
        return issued(text, site.secrets[TLS_KEY], names, datetime.now(UTC))
    except ValueError as error:
        hint = f"replace both: mainstay secrets rotate {TLS_KEY}, then deploy the site"
        raise InputError(path, "", str(error), hint) from None


def issued(authority: str, key_pem: SecretStr, names: tuple[str, ...], now: datetime) -> Identity:
    """What follows for a host of these names, the first its own. Pure. Raises ValueError."""
    try:
        issuer, key = x509.load_pem_x509_certificate(authority.encode()), _key(key_pem)
    except (ValueError, TypeError):
        raise ValueError(f"it or the secret {TLS_KEY} is not PEM") from None
    if issuer.public_key() != key.public_key():
        raise ValueError(f"it is not of the key in the secret {TLS_KEY}")
    if issuer.not_valid_after_utc < now + timedelta(days=RENEW_DAYS):
        raise ValueError(f"it is valid only until {issuer.not_valid_after_utc:%Y-%m-%d}")
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    derived = HKDF(hashes.SHA256(), 32, None, f"mainstay monitored host {names[0]}".encode()).derive(seed)
    own = Ed25519PrivateKey.from_private_bytes(derived)
    serial = hashlib.sha256(f"{issuer.serial_number} {' '.join(names)}".encode()).digest()[:16]
    certificate = (
        x509.CertificateBuilder(issuer.subject, _subject(names[0]), own.public_key())
        .serial_number(int.from_bytes(serial) >> 1 | 1)
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_usage("digital_signature"), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .sign(key, None)
    )
    return Identity(authority, certificate.public_bytes(Encoding.PEM).decode(), SecretStr(_pem(own)))


def _authority(key: Ed25519PrivateKey, site: str, now: datetime) -> str:
    subject, start = _subject(f"{site} monitoring"), now.replace(microsecond=0) - timedelta(days=1)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage("key_cert_sign"), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, None)
    )
    return made.public_bytes(Encoding.PEM).decode()


def _new_key() -> str:
    return _pem(Ed25519PrivateKey.generate())


def _pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _key(pem: SecretStr) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem.get_secret_value().encode(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not Ed25519")
    return key


def _usage(only: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name == only for name in USAGES})


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
