"""Web servers as the control host sees them from outside: whether users are let in by TLS, and for how long yet."""

import ssl
import time
from collections.abc import Iterable
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
    asked, trusting = servers(site), trusted.context(site.files)
    with ThreadPoolExecutor(PARALLEL) as pool:
        return told(zip(asked, pool.map(lambda server: look(server, trusting), asked), strict=True))


def told(looks: Iterable[tuple[Server, str]]) -> list[Finding]:
    """A finding for each host that has something wrong: people are told again when it hits another name of it."""
    wrong: dict[tuple[str, str], dict[str, str]] = {}
    for server, what in looks:
        if what:
            wrong.setdefault((server.host, server.role), {})[server.name] = what
    return [
        Finding(Kind.CERTIFICATE, *of, "; ".join(f"{name}: {hit[name]}" for name in hit), TO_DO, Subject("", (*hit,)))
        for of, hit in wrong.items()
    ]


def look(server: Server, trusting: ssl.SSLContext) -> str:
    """What is wrong with it, in words; empty if nothing is."""
    try:
        shown = _shown(server, trusting)
    except OSError as error:
        return refusal(error)
    return short_of_life(x509.load_pem_x509_certificate(shown.encode()), datetime.now(UTC))


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
