"""A site's one Gerrit, as its inventory declares it."""

from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.gerrit.settings import Settings

ROLE = "gerrit"


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
