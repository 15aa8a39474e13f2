"""An ordinary HTTPS client at one address of a host, for the suites of the web roles."""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

import requests

from inventories import by_name, trusted
from inventories.inventory import LoadedSite
from roles.common.nginx import certificate

TIMEOUT_SECONDS = 10
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class Client:
    """Follows no redirect and offers gzip, as clients in the field do. files: of the site."""

    address: str
    name: str
    files: Path
    scheme: str = "https"

    @cached_property
    def _session(self) -> requests.Session:
        return by_name.session(self.name, trusted.context(self.files))

    @property
    def host(self) -> str:
        """The address, as a URL has it."""
        return f"[{self.address}]" if ip_address(self.address).version == 6 else self.address

    def ask(self, method: str, path: str, **headers: str) -> requests.Response:
        """The answer with its body unread (`.content` reads it); keywords are headers, `_` for `-`."""
        sent = {"Accept-Encoding": "gzip"} | {key.replace("_", "-"): value for key, value in headers.items()}
        url = f"{self.scheme}://{self.host}{path}"
        return self._session.request(
            method, url, headers=sent, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
        )

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.ask("GET", path, **headers)

    def head(self, path: str, **headers: str) -> requests.Response:
        return self.ask("HEAD", path, **headers)

    def status(self, path: str) -> int:
        return self.get(path).status_code


def clients(site: LoadedSite, host_name: str) -> dict[str, Client]:
    """By family; a host that is not provisioned with both has too few, and its suite says so."""
    locked, (name, *_) = site.lock.hosts[host_name], certificate.names(site, host_name)
    return {"IPv4": Client(locked.ipv4, name, site.files), "IPv6": Client(locked.ipv6, name, site.files)}


def body_size(answer: requests.Response) -> int:
    """Bytes as they came over the wire."""
    return len(answer.raw.read(decode_content=False))


def fields(answer: requests.Response) -> dict[str, list[str]]:
    """Values of each header field as they came, by its name in lower case: `headers` joins those said twice."""
    raw = answer.raw.headers
    return {name.lower(): raw.getlist(name) for name in raw}
