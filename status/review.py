"""Gerrit, as `mainstay gerrit status` finds it."""

from datetime import datetime
from typing import Any

from backup.sizes import size
from inventories.inventory import LoadedSite
from roles.gerrit.tools.server import ROLE, host_of, settings_of
from roles.gerrit.tools.state import State, wrong
from roles.gerrit.tools.state import state as ask
from status.told import Row, Seen, Source, Table, critical, state

LABELS = ("host", "version", "unit", "volume free", "changes in a day", "state")


def applies(site: LoadedSite) -> bool:
    """Whether the site has a Gerrit."""
    return bool(site.fleet.with_role(ROLE))


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises Unreachable, InputError."""
    told = ask(site)
    return together(host_of(site), told, wrong(told, [war.version for war, _ in settings_of(site).wars().values()]))


def together(host: str, told: State, found: list[str]) -> Seen:
    """found: what is wrong, in words."""
    to_do = "`mainstay gerrit status`; `mainstay runbook list` has pages on Gerrit."
    findings = [critical(host, "gerrit", one, to_do) for one in found]
    unit: Any = told["unit"] or {}
    shown = (
        told["version"] or "does not answer",
        unit.get("state", "-"),
        size(told["disk"]["free"]) if told["disk"] else "-",
        "-" if told["changes_day"] is None else str(told["changes_day"]),
    )
    row = Row(host, [*((str(word), "") for word in shown), state(findings)], told)
    return Seen(findings, [Table("gerrit", "Gerrit", LABELS, [row])])


SOURCE = Source("gerrit", "Gerrit", "mainstay gerrit status", applies, look)
