"""The site as its real clients see it: the phones' update client and a browser, by TLS, on IPv4 and IPv6.

The client's habits are those of the update client in the field: metadata first, compared by TIMESTAMP; the incremental
from the installed build, and on an error status the full package; downloads resumed by `Range: bytes=N-`, 416 taken as
complete.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

import requests
from dnslib import QTYPE, DNSRecord

from inventories import by_name, trusted
from inventories.inventory import LoadedSite
from lab import lifecycle, sample
from lab.engine import LabConfig

SILENCE_SECONDS = 60
"""The client gives up on a server that is silent for so long."""


class FetchError(Exception):
    """A client would have been let down; says by what."""


def resolve(name: str, resolver: str) -> list[str]:
    """The IPv4 and IPv6 addresses of a name, as the resolver at that address tells them."""
    found: list[str] = []
    for kind in ("A", "AAAA"):
        answer = DNSRecord.parse(DNSRecord.question(name, kind).send(resolver, timeout=5))
        found += [str(record.rdata) for record in answer.rr if QTYPE[record.rtype] == kind]
    return found


def lab_of(site: LoadedSite) -> LabConfig:
    """The lab that a site lives on. Raises FetchError."""
    lab = lifecycle.find(site.name)
    if lab is None:
        raise FetchError(f"lab {site.name} is down: `mainstay lab up --name {site.name}` brings it up")
    return lab


@dataclass(frozen=True)
class Server:
    """A web server by name, reached at one of its addresses. files: of its site."""

    name: str
    address: str
    files: Path

    @cached_property
    def _session(self) -> requests.Session:
        return by_name.session(self.name, trusted.context(self.files))

    def get(self, path: str, *, scheme: str = "https", **headers: str) -> requests.Response:
        """GET without following redirects, whatever the status. Raises FetchError where no TLS comes about."""
        host = f"[{self.address}]" if ip_address(self.address).version == 6 else self.address
        try:
            return self._session.get(
                f"{scheme}://{host}/{path.lstrip('/')}",
                headers={"Accept-Encoding": "gzip"} | headers,
                timeout=SILENCE_SECONDS,
                allow_redirects=False,
            )
        except requests.ConnectionError as error:
            raise FetchError(f"{self.name} at {self.address}: GET {path}: {error}") from None

    def expect(self, path: str, status: int, *, scheme: str = "https", **headers: str) -> requests.Response:
        """GET that must end with status. Raises FetchError."""
        answer = self.get(path, scheme=scheme, **headers)
        if answer.status_code != status:
            where = f"{self.name} at {self.address}: GET {path} by {scheme}"
            raise FetchError(f"{where}: expected {status}, got {answer.status_code}")
        return answer


@dataclass(frozen=True)
class Offer:
    """A line of channel metadata: `BUILD TIMESTAMP ANDROID`."""

    build: str
    timestamp: int
    android: str

    @classmethod
    def parse(cls, text: str) -> "Offer":
        build, timestamp, android = text.split()
        return cls(build, int(timestamp), android)


def update(server: Server, device: str, channel: str, installed: str) -> str:
    """One phone's update from the installed build; returns `incremental` or `full`. Raises FetchError."""
    offer = Offer.parse(server.expect(f"ota/{device}/{device}-{channel}", 200).text)
    folder = f"ota/{device}/{offer.android}"
    package = f"{folder}/{device}-incremental-{installed}-{offer.build}.zip"
    kind = "incremental"
    if server.get(package, Range="bytes=0-0").status_code >= 400:
        package, kind = f"{folder}/{device}-ota_update-{offer.build}.zip", "full"
    size = int(server.expect(package, 206, Range="bytes=0-0").headers["Content-Range"].rpartition("/")[2])
    half = server.expect(package, 206, Range=f"bytes=0-{size // 2 - 1}").content
    body = half + server.expect(package, 206, Range=f"bytes={size // 2}-").content
    server.expect(package, 416, Range=f"bytes={size}-")
    promised = server.expect(f"{package}.sha256sum", 200).text.split()[0]
    if hashlib.sha256(body).hexdigest() != promised:
        raise FetchError(f"{server.name} at {server.address}: {package} does not have its published SHA-256")
    return kind


def servers(site: LoadedSite, role: str) -> Iterable[Server]:
    """Every name of a role's hosts at every address the lab's resolver gives for it; an unanswered name is an error."""
    resolver = str(lab_of(site).gateway4)
    for name in sorted({dns for host in site.fleet.with_role(role).values() for dns in host.dns}):
        addresses = resolve(name, resolver)
        if {ip_address(address).version for address in addresses} != {4, 6}:
            raise FetchError(f"{name}: expected an IPv4 and an IPv6 address, the resolver gave {addresses}")
        yield from (Server(name, address, site.files) for address in addresses)


def as_phone(site: LoadedSite) -> str:
    """Every current phone of the sample archive updates from the build it has, and a retired one is told so.

    Returns what happened in words; raises FetchError.
    """
    kinds: list[str] = []
    for server in servers(site, "release"):
        for device in sample.DEVICES:
            if device.name == sample.RETIRED:
                server.expect(f"ota/{device.name}/{device.name}-stable", 410)
            else:
                installed = device.old.number if device.old else "0"
                kinds.append(update(server, device.name, "stable", installed))
                # It takes the body of a redirect for metadata: without TLS it gets an error.
                server.expect(f"ota/{device.name}/{device.name}-stable", 403, scheme="http")
    if set(kinds) != {"incremental", "full"}:
        raise FetchError(f"expected incremental and full updates, got {sorted(set(kinds))}")
    return f"{kinds.count('incremental')} incremental and {kinds.count('full')} full updates, by IPv4 and IPv6"


def as_browser(site: LoadedSite) -> str:
    """Pages, their assets, a redirect, the site's own 404 page and the message that phones fetch; raises FetchError."""
    pages = 0
    for server in servers(site, "web"):
        to = server.expect("/about?x", 301, scheme="http").headers["Location"]
        if to != f"https://{server.name}/about?x":
            raise FetchError(f"{server.name} at {server.address}: without TLS it leads to {to}")
        for path in ("/", "/about", "/docs/", "/assets/css/style.css", "/.messages/latest.txt"):
            server.expect(path, 200)
            pages += 1
        if "not found" not in server.expect("/no-such-page", 404).text:
            raise FetchError(f"{server.name}: a missing page is not answered by the site's own 404 page")
        moved = server.expect("/get", 301).headers["Location"]
        if not moved.endswith("/docs/install"):
            raise FetchError(f"{server.name}: /get leads to {moved}")
        server.expect("/.git/HEAD", 404)
    return f"{pages} pages, by IPv4 and IPv6"
