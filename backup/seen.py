"""Web servers as the control host sees them from outside: whether users are let in by TLS, and for how long yet."""

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from backup.data_set import Finding, Kind, Subject
from backup.rules import span
from backup.trouble import said
from inventories import trusted
from inventories.inventory import LoadedSite

LEAST_LIFE = 1 / 4
"""Of its life a certificate has left, or people are told. Hosts renew at a third: by then it has failed for a while."""
AGAIN_S = 5
"""A server that is just being restarted answers after that."""
PARALLEL = 8
TO_DO = "docs/runbooks/certificate-will-not-renew.md."


@dataclass(frozen=True)
class Server:
    """One name of a host that speaks TLS."""

    host: str
    role: str
    name: str
    address: str
    port: int = 443


def servers(site: LoadedSite) -> list[Server]:
    """Every name of every host whose certificate anybody is to believe."""
    found = []
    for host, declared in site.fleet.hosts.items():
        locked = site.lock.hosts.get(host)
        for role, settings in site.settings(host).items() if locked else ():
            certificate = getattr(settings, "certificate", None)
            if locked and certificate and certificate.challenge != "none":
                found += [Server(host, role, name, locked.ipv4) for name in declared.dns]
    return found


def findings(site: LoadedSite) -> list[Finding]:
    """What users of the web servers are met by, if it is not as it should be. Takes seconds where one is silent."""
    trusting = trusted.context(site.files)
    with ThreadPoolExecutor(PARALLEL) as pool:
        return [one for found in pool.map(lambda server: [*_look(server, trusting)], servers(site)) for one in found]


def _look(server: Server, trusting: ssl.SSLContext) -> Iterator[Finding]:
    try:
        shown = _shown(server, trusting)
    except OSError as error:
        what = refusal(error)
    else:
        what = short_of_life(x509.load_pem_x509_certificate(shown.encode()), datetime.now(UTC))
    if what:
        yield Finding(Kind.CERTIFICATE, server.host, server.role, f"{server.name}: {what}", TO_DO, Subject(server.name))


def _shown(server: Server, trusting: ssl.SSLContext) -> str:
    try:
        return trusted.certificate(server.name, server.address, trusting, server.port)
    except ssl.SSLError:
        raise
    except OSError:
        time.sleep(AGAIN_S)
        return trusted.certificate(server.name, server.address, trusting, server.port)


def refusal(error: OSError) -> str:
    """Why users do not get in, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"users are warned of its certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"users get no TLS: {error.reason or said(error)}"
    return f"does not answer by TLS: {said(error)}"


def short_of_life(certificate: x509.Certificate, now: datetime) -> str:
    """What people are to know of the end of a certificate; empty if that is far."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    left = ends - now
    if left >= (ends - begins) * LEAST_LIFE:
        return ""
    return f"its certificate ends in {span(left)}, on {ends:%Y-%m-%d}, and was not renewed"
