"""How ssh reaches the hosts of a site: strictly by the keys pinned in its lock file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from inventories.inventory import LoadedSite

ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""Before a command: it is ended when this program is killed, which then cannot do it."""


def ssh_config(site: LoadedSite) -> str:
    """What `ssh -F` takes: every provisioned host by name, under its pinned keys and no others."""
    hosts = {name: host.ipv4 for name, host in sorted(site.lock.hosts.items()) if host.host_keys}
    return blocks(hosts, site.ssh_user, site.known_hosts(), site.ssh_key)


@contextmanager
def configured(site: LoadedSite) -> Iterator[Path]:
    """A file with that, for as long as it is needed."""
    with TemporaryDirectory(prefix="mainstay-") as folder:
        config = Path(folder, "ssh_config")
        config.write_text(ssh_config(site))
        yield config


def blocks(hosts: Mapping[str, str], user: str, known_hosts: Path, key: Path | None) -> str:
    """A block for each host, by name with its address; key None leaves the choice to the agent and ~/.ssh.

    A connection to a host that died is given up after a minute: nothing else would ever end a command there.
    """
    common = [
        f"  User {user}",
        f"  UserKnownHostsFile {known_hosts}",
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  ConnectTimeout 5",
        "  ServerAliveInterval 15",
        "  ServerAliveCountMax 4",
    ]
    if key:
        common += [f"  IdentityFile {key}", "  IdentitiesOnly yes", "  IdentityAgent none"]
    return "\n".join(
        "\n".join([f"Host {name}", f"  HostName {address}", f"  HostKeyAlias {name}", *common, ""])
        for name, address in hosts.items()
    )
