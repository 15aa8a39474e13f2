"""The pyinfra operation that brings a site into being: reads the provider, plans, prints the plan, applies it.

It runs on `@local`, because its hosts may not exist yet. `--dry` evaluates it up to the first change, so everything is
printed and nothing touched.
"""

import re
from collections.abc import Generator, Sequence

import click
from pyinfra import logger
from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from cloud import actions as do
from cloud import actual, plan
from cloud.apply import alone, run
from cloud.client import Client, Report
from cloud.declared import Site
from cloud.first_contact import Login
from cloud.switches import Switches
from cloud.work import Work
from inventories.admins import Admin
from inventories.errors import InputError
from inventories.inventory import ADMINS, PROVIDER_AUTHORITY, LoadedSite
from inventories.login import check_key

COLOURS = {"+": "green", "~": "yellow", "-": "red", "!": "magenta", "?": "blue"}


def report(line: str) -> None:
    """Progress, as pyinfra prints what hosts do."""
    logger.info(f"    {line}")


def client(site: LoadedSite, report: Report = report) -> Client:
    """The provider's API with the site's own key. Raises InputError, never showing the key."""
    return account(site, site.fleet.provider.api_url, site.fleet.provider.api_key, report)


def account(site: LoadedSite, api_url: str, secret: str, report: Report) -> Client:
    """An account at the provider: its API, and the name of the secret that holds the key. Raises InputError."""
    key = site.secrets[secret].get_secret_value()
    if not re.fullmatch("[!-~]+", key):
        hint = 'give it with `mainstay secrets edit` as NAME = "value": one in """...""" ends with a newline'
        raise InputError(site.secrets.path, secret, "must be one word of printable ASCII", hint)
    authority = site.files / PROVIDER_AUTHORITY
    return Client(
        api_url,
        key,
        requests_per_second=site.fleet.provider.requests_per_second,
        report=report,
        authority=authority if authority.exists() else None,
    )


@operation()
def provision(site: LoadedSite, switches: Switches) -> Generator[FunctionCommand, None, None]:
    """Makes what exists at the provider what the inventory declares. Raises InputError, CloudError, BusyError."""
    check_login(site)
    api = client(site)
    with alone(site.lock_path):
        seen = Site(site.path, site.fleet, actual.read(api, site.fleet, site.lock), site.lock, switches)
        actions = plan.make(seen)
        show(actions)
        todo = plan.changes(actions)
        if todo:
            yield FunctionCommand(_apply, (site, seen, api, todo), {})


def bring(site: LoadedSite, report: Report) -> list[str]:
    """The same outside of pyinfra: makes what the inventory declares; returns what failed. Removes nothing.

    Raises InputError, CloudError, BusyError.
    """
    check_login(site)
    api = client(site, report)
    with alone(site.lock_path):
        seen = Site(site.path, site.fleet, actual.read(api, site.fleet, site.lock), site.lock)
        return run(_work(site, seen, api), plan.changes(plan.make(seen)))


def show(actions: Sequence[do.Action]) -> None:
    """Prints the plan, one line an action."""
    for action in actions:
        report(click.style(str(action), COLOURS[action.sign]))
    cost = sum(action.monthly_usd for action in actions if isinstance(action, do.CreateHost))
    if cost:
        report(f"new hosts cost ${cost:.2f} a month, without volumes and backups")
    if not actions:
        report("everything is as declared")


def check_login(site: LoadedSite) -> None:
    """First contact needs an admin who gets an account with sudo on every host, and a key. Raises InputError."""
    for name, host in site.fleet.hosts.items():
        if not any(admin.name == site.ssh_user and admin.sudo for admin in site.admins.for_role(host.role)):
            problem = f"{site.ssh_user!r} has no account with sudo on hosts of the role {host.role!r}"
            raise InputError(
                site.path, f"hosts.{name}.role", problem, f"see roles and sudo in {site.files}/admins.toml"
            )
    check_key(site.path, site.ssh_key, site.admins.admins[site.ssh_user], site.files / ADMINS)


def _work(site: LoadedSite, seen: Site, api: Client) -> Work:
    def admins(role: str) -> Sequence[Admin]:
        return site.admins.for_role(role)

    return Work(seen, api, site.lock_path, Login(site.ssh_user, site.ssh_key), admins)


def _apply(state: State, host: Host, site: LoadedSite, seen: Site, api: Client, todo: Sequence[do.Action]) -> bool:
    failures = run(_work(site, seen, api), todo)
    for failure in failures:
        logger.error(click.style(failure, "red"))
    return not failures
