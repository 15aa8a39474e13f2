"""`mainstay lab`: the local cloud up, down, and the ways into its hosts."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli import lazy
from cli.options import BAD_USAGE, FAILED, UNREACHABLE, stop
from inventories import lock
from inventories.files import replace
from inventories.ssh import blocks
from lab import lifecycle
from lab.api.store import MAIN
from lab.engine import EngineError, LabConfig
from lab.hosts import LabEngine

app = lazy.application()
Name = Annotated[str, typer.Option("--name", envvar="MAINSTAY_LAB", help="Which lab; several can be up at once.")]
Host = Annotated[str, typer.Argument(help="The host's name, as `mainstay lab status` shows it.")]


@app.callback()
def _root() -> None:
    if os.geteuid():
        raise _stop("the local cloud needs root", FAILED)


_stop = partial(stop, "lab")


@app.command()
def up(name: Name = "lab") -> None:
    """Bring the lab up, without hosts: those come by deploys/provision.py."""
    try:
        config = lifecycle.up(name)
    except lifecycle.NameRefused as error:
        raise _stop(str(error), BAD_USAGE) from error
    except (lifecycle.LabError, EngineError) as error:
        raise _stop(str(error), FAILED) from error
    typer.echo(f"lab {name} is up: API at {config.api_url}, site files in {config.root / 'site'}")


@app.command()
def down(
    name: Name = "lab", every: Annotated[bool, typer.Option("--all", help="Every lab of this machine.")] = False
) -> None:
    """Take the lab down with everything it ever made, its volumes and site files too."""
    try:
        for one in lifecycle.names() if every else [name]:
            lifecycle.down(one)
            typer.echo(f"lab {one} is down")
    except lifecycle.NameRefused as error:
        raise _stop(str(error), BAD_USAGE) from error
    except (lifecycle.LabError, EngineError) as error:
        raise _stop(str(error), FAILED) from error


@app.command()
def status(
    name: Name = "lab",
    as_json: Annotated[bool, typer.Option("--json", help="For programs; holds the API keys.")] = False,
) -> None:
    """Show the lab and its hosts. Exit code 3 when its API does not answer."""
    found = lifecycle.status(name)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _table(found)
    if found["state"] != "up":
        raise typer.Exit(UNREACHABLE)


def _table(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(f"lab {found['name']}: {found['state']}  {found.get('api_url', '')}")
    if not found["hosts"]:
        return
    columns = ("name", "role", "address", "account", "state", "error")
    table = Table(*columns)
    for host in found["hosts"]:
        table.add_row(*(host[column] for column in columns))
    console.print(table)


def _config(name: str) -> LabConfig:
    config = lifecycle.find(name)
    if config is None:
        raise _stop(f"lab {name} is down: `mainstay lab up --name {name}` brings it up", UNREACHABLE)
    return config


def _host(name: str, host: str) -> dict[str, Any]:
    _config(name)
    hosts = lifecycle.status(name)["hosts"]
    for found in hosts:
        if host in (found["name"], found["id"], found["address"]):
            return dict(found)
    there = ", ".join(sorted(found["name"] for found in hosts)) or "none"
    raise _stop(f"lab {name} has no host {host!r}; it has: {there}", BAD_USAGE)


def _write_ssh_files(name: str) -> Path:
    """A configuration for `ssh -F`; its known_hosts beside it lets in only hosts whose keys provisioning pinned."""
    config = _config(name)
    site, known_hosts = config.root / "site", config.root / "known_hosts"
    found = lifecycle.status(name)["hosts"]
    hosts = {host["name"]: host["address"] for host in found if host["account"] == MAIN}
    replace(known_hosts, lock.known_hosts(lock.load(site / "lock.json")))
    replace(config.root / "ssh_config", blocks(hosts, "lab", known_hosts, site / "id_ed25519"))
    return config.root / "ssh_config"


@app.command("ssh-config")
def ssh_config(name: Name = "lab") -> None:
    """Print a configuration that `ssh -F` takes, with the pinned host keys."""
    typer.echo(_write_ssh_files(name).read_text(), nl=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def ssh(
    host: Host,
    command: Annotated[list[str] | None, typer.Argument(help="What to run there; without it, a shell.")] = None,
    name: Name = "lab",
) -> None:
    """Enter a host as the lab's admin. Exit code as of ssh: the command's, or 255."""
    found = _host(name, host)
    os.execvp("ssh", ["ssh", "-F", str(_write_ssh_files(name)), found["name"], *(command or [])])  # noqa: S606


@app.command()
def logs(
    host: Host,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written.")] = False,
    name: Name = "lab",
) -> None:
    """Show what a host wrote to its console."""
    console = LabEngine(_config(name)).console(_host(name, host)["id"])
    if not console.exists():
        raise _stop(f"{host} has written nothing to its console yet", FAILED)
    os.execvp("tail", ["tail", "-n", "+1", *(["-f"] if follow else []), str(console)])  # noqa: S606
