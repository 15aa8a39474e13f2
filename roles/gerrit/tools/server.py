"""The way to a site's running Gerrit: through ssh to its port on its host's loopback, as its administrator."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from backup.reach import forwarded, reach
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.gerrit import secure
from roles.gerrit.settings import HTTP_PORT, Settings

ROLE = "gerrit"


@dataclass(frozen=True)
class Login:
    """What a client of its REST API needs: `url` ends with a slash, authorised paths begin with `a/`."""

    url: str
    user: str
    token: str = field(repr=False)


def host_of(site: LoadedSite) -> str:
    """The site's one Gerrit. Raises InputError."""
    hosts = [name for name, declared in site.fleet.hosts.items() if declared.role == ROLE]
    if len(hosts) != 1:
        problem = f"there is no host of the role {ROLE}" if not hosts else f"several are {ROLE}: {', '.join(hosts)}"
        raise InputError(site.path, "hosts", problem, f"declare one host with role = '{ROLE}'")
    return hosts[0]


def settings_of(site: LoadedSite) -> Settings:
    """The role's. Raises InputError."""
    found = site.settings(host_of(site))[ROLE]
    assert isinstance(found, Settings)
    return found


def mount_of(site: LoadedSite) -> str:
    """Where the volume with the site is on its host. Raises InputError."""
    return site.fleet.hosts[host_of(site)].volumes[settings_of(site).volume].mount


@contextmanager
def connected(site: LoadedSite) -> Iterator[Login]:
    """Raises InputError; Unreachable when its host is."""
    host, token = host_of(site), secure.token(site)
    with reach(site) as way, forwarded(way.config, host, HTTP_PORT) as port:
        yield Login(f"http://127.0.0.1:{port}/", secure.ACCOUNT, token.get_secret_value())
