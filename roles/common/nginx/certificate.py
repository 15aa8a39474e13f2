"""The certificate of a web server: what can be set, and the files that say it to the host's own program.

That program (tree/usr/local/lib/mainstay/certificate.py) makes the key, gets the certificate and renews it.
"""

import json
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from inventories import trusted
from inventories.errors import InputError
from inventories.inventory import PROVIDER_AUTHORITY, LoadedSite
from inventories.typed import ApiUrl, Typed

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
PROGRAM = "/usr/local/lib/mainstay/certificate.py"
PLAN = "/etc/mainstay/certificate"
DNS = f"{PLAN}/dns.json"
STATE = "/var/lib/mainstay/tls"
CERTIFICATE = f"{STATE}/site.pem"
"""Key and chain: the program writes it, so no tree has it."""
CHALLENGES = f"{STATE}/challenges"
AUTHORITIES = {trusted.ACME: "acme.pem", trusted.ROOTS: "roots.pem", PROVIDER_AUTHORITY: "provider.pem"}
"""In the site's folder, where the authority or the provider is one that Debian does not know: name below PLAN."""
DIRECTORIES = (PLAN, "/var/lib/mainstay", STATE, f"{STATE}/acme", CHALLENGES)
MODES = {
    PLAN: "0700",
    f"{PLAN}/*": "0600",
    "/var/lib/mainstay": "0711",
    STATE: "0750",
    f"{STATE}/acme": "0700",
    CHALLENGES: "0755",
}
OWNERS = {PLAN: "root:root", f"{PLAN}/*": "root:root", STATE: "root:www-data"} | dict.fromkeys(
    (f"{STATE}/acme", CHALLENGES), "root:root"
)


class Certificate(Typed):
    """Where the certificate comes from; its names are the host's `dns`."""

    challenge: Literal["http-01", "dns-01", "none"] = "http-01"
    """How the authority sees that the names are this host's: it asks port 80, or the site's zone; none: the host signs
    its certificate itself, and nobody believes it who was not told."""
    directory: ApiUrl = LETS_ENCRYPT
    """The authority's, by ACME (RFC 8555)."""
    email: str = Field(default="", pattern=r"^$|^[A-Za-z0-9._%+-]+@([a-z0-9-]+\.)+[a-z]{2,63}$")
    """Whom the authority may write to. Empty: nobody."""
    dns_key: str = ""
    """Name of the secret with a key to the provider's API that may change DNS and nothing else; for dns-01."""
    dns_api_url: ApiUrl | None = None
    """For dns-01. Default: the site's own provider."""

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.challenge == "dns-01" and not self.dns_key:
            raise ValueError("dns_key: dns-01 writes to the site's zone: name the secret with a key that may do so")
        if self.challenge != "dns-01" and (self.dns_key or self.dns_api_url):
            raise ValueError(f'dns_key: is for challenge = "dns-01" alone, not for "{self.challenge}"')
        return self


def names(site: LoadedSite, host: str) -> tuple[str, ...]:
    """What the host is called by its clients; one without names of its own, by that which it has as a host."""
    return site.fleet.hosts[host].dns or (f"{host}.{site.fleet.site.domain}",)


def check(site: LoadedSite, host: str, certificate: Certificate) -> None:
    """Raises InputError for a certificate that no authority would issue to this host, or with too mighty a key."""
    where = f"hosts.{host}"
    if certificate.challenge != "none" and not site.fleet.hosts[host].dns:
        hint = f'declare the names that its clients use, or certificate.challenge = "none" in settings of {where}'
        raise InputError(site.path, f"{where}.dns", "no name that a certificate could be for", hint)
    if certificate.dns_key and certificate.dns_key == site.fleet.provider.api_key:
        hint = "make a user at the provider that may manage DNS alone, and name the secret with that one's key"
        problem = "is the site's own key: root on this host could delete every other"
        raise InputError(site.path, f"{where}: certificate.dns_key", problem, hint)


def peers(site: LoadedSite, host: str) -> list[str]:
    """Addresses of the other hosts with a name of this one's whose challenges it may be asked for in their place."""
    own, hosts, locked = {*names(site, host)}, site.fleet.hosts, site.lock.hosts
    others = (name for name in sorted(hosts) if name != host and own & {*hosts[name].dns} and _is_asked(site, name))
    return [address for name in others if name in locked for address in [locked[name].ipv4] if address]


def _is_asked(site: LoadedSite, host: str) -> bool:
    """Whether the authority asks port 80 for the host's certificate."""
    declared = getattr(site.settings(host)[site.fleet.hosts[host].role], "certificate", None)
    return isinstance(declared, Certificate) and declared.challenge == "http-01"


def packages(certificate: Certificate) -> dict[str, str | None]:
    """What the program needs."""
    needed = ["openssl", "python3"]
    if certificate.challenge != "none":
        needed.append("certbot")
    if certificate.challenge == "dns-01":
        needed.append("bind9-dnsutils")
    return dict.fromkeys(needed)


def files(site: LoadedSite, host: str, certificate: Certificate) -> dict[str, str]:
    """What the program reads, by its path. Raises InputError."""
    check(site, host, certificate)
    plan = {
        "names": names(site, host),
        "challenge": certificate.challenge,
        "directory": certificate.directory,
        "email": certificate.email,
    }
    found = {f"{PLAN}/plan.json": f"{json.dumps(plan, indent=2)}\n"}
    for name in _authorities(site, certificate):
        found[f"{PLAN}/{AUTHORITIES[name]}"] = (site.files / name).read_text()
    if certificate.challenge == "dns-01":
        key: SecretStr = site.secrets[certificate.dns_key]
        told = {
            "api_url": certificate.dns_api_url or site.fleet.provider.api_url,
            "zone": site.fleet.site.domain,
            "key": key.get_secret_value(),
        }
        found[DNS] = f"{json.dumps(told, indent=2)}\n"
    return found


def absent(site: LoadedSite, certificate: Certificate) -> tuple[str, ...]:
    """What another setting may have left."""
    there = {AUTHORITIES[name] for name in _authorities(site, certificate)}
    gone = [f"{PLAN}/{name}" for name in AUTHORITIES.values() if name not in there]
    return (*gone, *(() if certificate.challenge == "dns-01" else (DNS,)))


def _authorities(site: LoadedSite, certificate: Certificate) -> Sequence[str]:
    wanted = {"none": (), "http-01": (trusted.ACME, trusted.ROOTS), "dns-01": tuple(AUTHORITIES)}
    return [name for name in wanted[certificate.challenge] if (site.files / name).exists()]
