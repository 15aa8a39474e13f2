"""Web servers as the control host sees them from outside: whether users are let in by TLS, and for how long yet."""

import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from backup.data_set import Certificate, Finding, Kind, Subject
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


@dataclass(frozen=True)
class Look:
    """What was found at a server."""

    server: Server
    wrong: str = ""
    """In words; empty if nothing is."""
    ends: datetime | None = None
    """When the certificate ends that it shows, believed or not; None: it shows none."""


def servers(site: LoadedSite) -> list[Server]:
    """Every name of every host whose certificate anybody is to believe."""
    found, there = [], site.lock.hosts
    for host, declared in site.fleet.hosts.items():
        locked = there.get(host)
        for role, settings in site.settings(host).items() if locked else ():
            certificate = getattr(settings, "certificate", None)
            if locked and certificate and certificate.challenge != "none":
                found += [Server(host, role, name, locked.ipv4) for name in declared.dns]
    return found


def looks(site: LoadedSite) -> list[Look]:
    """At each of them. Takes seconds where one is silent."""
    asked, trusting = servers(site), trusted.context(site.files)
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(lambda server: look(server, trusting), asked))


def findings(looks: Sequence[Look]) -> list[Finding]:
    """What users of the web servers are met by, if it is not as it should be.

    One for each host that has something wrong: people are told again when it hits another name of it.
    """
    wrong: dict[tuple[str, str], dict[str, str]] = {}
    for one in looks:
        if one.wrong:
            wrong.setdefault((one.server.host, one.server.role), {})[one.server.name] = one.wrong
    return [
        Finding(Kind.CERTIFICATE, *of, "; ".join(f"{name}: {hit[name]}" for name in hit), TO_DO, Subject("", (*hit,)))
        for of, hit in wrong.items()
    ]


def shown(looks: Sequence[Look], data_set: str) -> tuple[Certificate, ...]:
    """The certificates of one host's role, as HOST:ROLE, which is what its backup is called."""
    own = (one for one in looks if f"{one.server.host}:{one.server.role}" == data_set)
    return tuple(Certificate(one.server.name, one.ends) for one in own if one.ends)


def look(server: Server, trusting: ssl.SSLContext) -> Look:
    """What users of it are met by."""
    try:
        certificate = _shown(server, trusting)
    except ssl.SSLCertVerificationError as error:
        return Look(server, refusal(error), _end(server))
    except OSError as error:
        return Look(server, refusal(error))
    return Look(server, short_of_life(certificate, datetime.now(UTC)), certificate.not_valid_after_utc)


def _end(server: Server) -> datetime | None:
    """Of a certificate that is not believed."""
    try:
        return _shown(server, trusted.unverified()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def _shown(server: Server, trusting: ssl.SSLContext) -> x509.Certificate:
    asked = (server.name, server.address, trusting, server.port)
    try:
        text = trusted.certificate(*asked)
    except ssl.SSLError:
        raise
    except OSError:
        time.sleep(AGAIN_S)
        text = trusted.certificate(*asked)
    return x509.load_pem_x509_certificate(text.encode())


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
