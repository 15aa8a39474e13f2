"""The vault's certificate: its key, a certificate that signs itself, and what may be wrong with one. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
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

TLS_KEY = "vault_tls_key"
"""The secret that holds its key."""
FORWARDED = ("localhost", "127.0.0.1")
"""What the vault is called by those who reach it through SSH."""
VALID_DAYS = 3650
RENEW_DAYS = 30
"""A certificate with less to live than this is refused by a deploy."""


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
