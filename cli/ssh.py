"""`mainstay ssh` and `mainstay ssh-config`: into the hosts of a site, under their pinned keys."""

import subprocess
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


def must_be_there(site: "LoadedSite", host: str) -> None:
    """Raises InputError for a host that the lock file has no address of."""
    there = sorted(name for name, found in site.lock.hosts.items() if found.host_keys)
    if host not in there:
        problem = "is declared and not provisioned yet" if host in site.fleet.hosts else "no such host"
        hint = f"there are: {', '.join(there)}" if there else "deploys/provision.py makes them"
        raise InputError(site.path, host, problem, hint)
