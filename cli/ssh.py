"""`mainstay ssh` and `mainstay ssh-config`: into the hosts of a site, under their pinned keys; `mainstay pin` one."""

import subprocess
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Inventory, chosen
from inventories.errors import InputError

if TYPE_CHECKING:
    from inventories.inventory import LoadedSite


def ssh(
    host: Annotated[str, typer.Argument(metavar="HOST", help="As the inventory calls it.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="What to run there; without it, a shell.")
    ] = None,
    inventory: Inventory = None,
) -> None:
    """Enter a host as an admin. Exit code as of ssh: the command's, or 255."""
    from inventories import ssh as ways

    site = chosen(inventory)
    must_be_there(site, host)
    with ways.configured(site) as config:
        done = subprocess.run(["ssh", "-F", str(config), host, *(command or [])], check=False)
    raise typer.Exit(done.returncode)


def ssh_config(inventory: Inventory = None) -> None:
    """Print what `ssh -F` takes, with the pinned host keys; for scp, rsync and editors."""
    from inventories import ssh as ways

    typer.echo(ways.ssh_config(chosen(inventory)), nl=False)


def pin(
    host: Annotated[str, typer.Argument(metavar="HOST", help="As the inventory calls it.")],
    address: Annotated[str, typer.Option(metavar="ADDRESS", help="Its IPv4 address.")],
    host_key: Annotated[str, typer.Option(metavar="'ssh-ed25519 AAAA...'", help="Its SSH host key, as its file says.")],
    inventory: Inventory = None,
) -> None:
    """Write a host that no provider made into lock.json, with its address and the host key read at its console."""
    from inventories import keys
    from inventories.lock import LockedHost, save

    site = chosen(inventory)
    if host not in site.fleet.hosts:
        raise InputError(site.path, host, "no such host", f"there are: {', '.join(sorted(site.fleet.hosts))}")
    lock = site.lock
    if host in lock.hosts and lock.hosts[host].instance_id:
        raise InputError(site.lock_path, f"hosts.{host}", "a provider made it", "provisioning pins its key")
    try:
        parsed, ipv4 = keys.parse(host_key), str(IPv4Address(address))
    except ValueError as error:
        raise InputError("--host-key or --address", "", str(error)) from None
    made = LockedHost(instance_id="", ipv4=ipv4, host_keys=(parsed.recipient,))
    save(site.lock_path, lock.model_copy(update={"hosts": lock.hosts | {host: made}}))
    typer.echo(f"{host}: {ipv4}, {parsed.fingerprint}: compare it, and commit {site.lock_path}")


def must_be_there(site: "LoadedSite", host: str) -> None:
    """Raises InputError for a host that the lock file has no address of."""
    there = sorted(name for name, found in site.lock.hosts.items() if found.host_keys)
    if host not in there:
        problem = "is declared and not provisioned yet" if host in site.fleet.hosts else "no such host"
        hint = f"there are: {', '.join(there)}" if there else "deploys/provision.py makes them"
        raise InputError(site.path, host, problem, hint)
