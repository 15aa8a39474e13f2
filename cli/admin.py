"""`mainstay admin`: people come and go. It changes files of the repository; a deploy brings that to hosts."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from backup import renewal
from cli import lazy
from cli.options import ForPrograms, Inventory, chosen
from inventories import departed, keys, people
from inventories.admins import Admin
from inventories.inventory import LoadedSite
from inventories.secrets import owners

app = lazy.application()
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the account on the hosts.")]


@app.command()
def add(
    name: Name,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The public key to log in with: ssh-ed25519 or sk-.")],
    roles: Annotated[
        str, typer.Option(metavar="ROLE,ROLE", help="On whose hosts there is to be an account. Default: all.")
    ] = "",
    age: Annotated[
        list[str] | None,
        typer.Option(metavar="RECIPIENT", help="age1..., to read secrets with. Default: the ssh-ed25519 key."),
    ] = None,
    publisher: Annotated[
        bool,
        typer.Option("--publisher", help="To publish and for nothing else: no sudo, no secrets."),
    ] = False,
    inventory: Inventory = None,
) -> None:
    """Make somebody an admin: in admins.toml, and among the readers of every secret."""
    site = chosen(inventory)
    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    done = people.add(site, name, key, age or (), wanted, publisher=publisher)
    if done.resumed:
        typer.echo(f"{name}: was declared already, and goes on from there")
    what = "a publisher, without sudo and secrets," if done.admin.publisher else "an admin"
    typer.echo(f"{name}: {what} on hosts of {_of(done.admin)}, by {', '.join(map(keys.label, done.admin.ssh_keys))}")
    if done.secrets:
        typer.echo(f"{len(done.secrets)} secrets can now be read by {name} too")
    _next(site)


@app.command()
def remove(name: Name, inventory: Inventory = None) -> None:
    """Take an admin out: of admins.toml and of the readers of every secret; tell what is known to them all the same."""
    site = chosen(inventory)
    done = people.remove(site, name)
    typer.echo(f"{name}: is no admin any more")
    if done.knew:
        typer.echo(f"{len(done.knew)} secrets were known to {name}, and are encrypted anew to the others:")
    for secret in done.knew:
        typer.echo(f"  {secret}: {_way(renewal.renewal(site, secret))}")
    for place in done.named:
        typer.secho(f"named elsewhere: {place}", fg="yellow")
    _next(site)
    if done.knew:
        typer.echo(f"then replace what {name} knew:")
        typer.echo(f"$ {renewal.rotate_words(site)}")


@app.command("list")
def list_(for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """Show who the admins are, and what those who have left know still. Decrypts nothing."""
    site = chosen(inventory)
    gone = departed.read(site.files)
    if for_programs:
        told = {"admins": [_admin(site, one) for one in site.admins.all()], "departed": _departed(site, gone)}
        typer.echo(json.dumps(told, indent=2))
        return
    table = Table("admin", "name", "roles", "sudo", "keys", "secrets")
    for admin in site.admins.all():
        told = _admin(site, admin)
        shown = "\n".join(f"{key['type']} {key['fingerprint']}" for key in told["ssh_keys"])
        reads = f"{len(told['reads'])} of {len(site.secrets)}"
        table.add_row(admin.name, admin.full_name, ", ".join(admin.roles), "yes" if admin.sudo else "no", shown, reads)
    console = Console(highlight=False)
    console.print(table)
    for name, one in sorted(gone.items()):
        state = "still knows:" if one.knows else f"and all that was known is replaced since {_last(one)}"
        console.print(f"{name} left on {one.left}, {state}", markup=False)
        for secret in one.knows:
            console.print(f"  {secret}: {_way(renewal.renewal(site, secret))}", markup=False)


def _next(site: LoadedSite) -> None:
    typer.echo("commit, have it reviewed, and deploy:")
    for command in renewal.after_people(site):
        typer.echo(f"$ {command}")


def _of(admin: Admin) -> str:
    return "all roles" if "*" in admin.roles else f"the roles {', '.join(admin.roles)}"


def _way(one: renewal.Renewal) -> str:
    return f"`mainstay secrets rotate {one.secret}`" if one.own else f"by hand: {one.how}"


def _last(one: departed.Departed) -> str:
    return str(max(one.replaced.values(), default=one.left))


def _admin(site: LoadedSite, admin: Admin) -> dict[str, Any]:
    return {
        "name": admin.name,
        "full_name": admin.full_name,
        "roles": admin.roles,
        "sudo": admin.sudo,
        "publisher": admin.publisher,
        "ssh_keys": [{"type": line.split()[0], "fingerprint": keys.label(line)} for line in admin.ssh_keys],
        "age_recipients": [keys.label(line) for line in admin.age_recipients],
        "reads": [name for name in site.secrets if admin.name in owners(site.secrets.entries[name])],
    }


def _departed(site: LoadedSite, gone: departed.People) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "left": str(one.left),
            "knows": [renewal.renewal(site, secret)._asdict() for secret in one.knows],
            "replaced": {secret: str(day) for secret, day in one.replaced.items()},
        }
        for name, one in sorted(gone.items())
    ]
