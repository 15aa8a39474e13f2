"""What a site's web servers and its certificate authority are trusted by: the system's authorities, and a lab's own."""

import ssl
from pathlib import Path

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
