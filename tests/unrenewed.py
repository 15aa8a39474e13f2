"""A certificate of the lab's authority that nobody has renewed: it ends within seconds, whatever Pebble issues."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from backup.certificate import new_key
from lab import authority
from lab.engine import LabConfig


def unrenewed(lab: LabConfig, names: Sequence[str], ends_in_s: int) -> str:
    """Key and chain, as a web server of the lab has them."""
    above, above_key = (authority.material(lab, what) for what in ("intermediates", "intermediate-keys"))
    issuer = x509.load_pem_x509_certificate(above.encode())
    issuer_key: Any = serialization.load_pem_private_key(above_key.encode(), None)
    key, now = new_key(), datetime.now(UTC)
    loaded: Any = serialization.load_pem_private_key(key.encode(), None)
    own = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(loaded.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(seconds=ends_in_s))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    text = own.public_bytes(serialization.Encoding.PEM).decode()
    return f"Issued by: {authority.directory(lab)}\n{key}{text}{above}"
