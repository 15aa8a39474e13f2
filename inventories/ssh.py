"""How ssh reaches the hosts of a site: strictly by the keys pinned in its lock file."""

from inventories.inventory import LoadedSite


def ssh_config(site: LoadedSite) -> str:
    """What `ssh -F` takes: every provisioned host by name, under its pinned keys and no others."""
    common = [
        f"  User {site.ssh_user}",
        f"  UserKnownHostsFile {site.known_hosts()}",
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  ConnectTimeout 5",
    ]
    if site.ssh_key:
        common += [f"  IdentityFile {site.ssh_key}", "  IdentitiesOnly yes", "  IdentityAgent none"]
    blocks = [
        "\n".join([f"Host {name}", f"  HostName {host.ipv4}", f"  HostKeyAlias {name}", *common])
        for name, host in sorted(site.lock.hosts.items())
        if host.host_keys
    ]
    return "\n\n".join(blocks) + "\n"
