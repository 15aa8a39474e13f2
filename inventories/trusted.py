"""Web servers as a site's users see them: by TLS and name, trusted by the system's authorities or a lab's own."""

import socket
import ssl
from pathlib import Path

TIMEOUT_S = 10
ACME = "acme.pem"
"""In the site's files, if the ACME server's certificate is of no public authority (the lab): what to trust for it."""
ROOTS = "tls-roots.pem"
"""In the site's files, if web servers' certificates are of no public authority (the lab): what to trust besides."""


def context(files: Path) -> ssl.SSLContext:
    """For who looks at a site's web servers from outside, as their users do. files: of the site."""
    made = ssl.create_default_context()
    if (files / ROOTS).exists():
        made.load_verify_locations(files / ROOTS)
    return made


def pinned(certificate: str) -> ssl.SSLContext:
    """For who knows a server's own certificate (PEM), and takes no other."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever issued it
    made.load_verify_locations(cadata=certificate)
    return made


def unverified() -> ssl.SSLContext:
    """For who looks at a certificate that users are warned of."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def certificate(name: str, address: str, trusting: ssl.SSLContext, port: int = 443) -> str:
    """The one (PEM) that a server shows who asks for that name. Raises OSError, SSLError where it is not believed."""
    with (
        socket.create_connection((address, port), timeout=TIMEOUT_S) as connection,
        trusting.wrap_socket(connection, server_hostname=name) as tls,
    ):
        shown = tls.getpeercert(binary_form=True)
    assert shown, "no server speaks TLS without one"
    return ssl.DER_cert_to_PEM_cert(shown)
