"""Who deployed what to each host last, as `mainstay deploys` tells it, and deploys that did not come to their end."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from backup.rules import ago
from doctor import site as doctor
from inventories.inventory import LoadedSite
from roles.base.deployed import CUT_OFF, RUNNING, Deployed, last, shown
from status.asked import Answer, Answers, answers, hosts, provisioned
from status.told import Finding, Row, Seen, Source, Table, state, warning

LABELS = ("host", "when (UTC)", "deploy", "result", "changes", "commit", "by", "state")
LOCKED = "docs/runbooks/deploy-is-locked.md"
ENDED = {
    "failed": "failed",
    "stopped": "was stopped: killed, or it failed on another host",
    "broken": "was ended by whoever broke its lock",
    CUT_OFF: "was cut off as the host went down",
}
"""All but those that finished, or run."""


def applies(site: LoadedSite) -> bool:
    """Whether there are hosts that can be asked."""
    return not site.local and bool(provisioned(site) & {*hosts(site)})


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError where it is not clear who I am."""
    return together(deployed(answers(site, now)), doctor.named(site), now)


def deployed(said: Answers) -> dict[str, Deployed | None]:
    """The last deploy of each host that could tell; None: it was never deployed."""
    told = {name: one.said.deploys for name, one in said.items() if isinstance(one, Answer)}
    return {name: last(text) for name, text in told.items() if text is not None}


def together(found: Mapping[str, Deployed | None], inventory: str, now: datetime) -> Seen:
    """Findings, and a row of each host. Hosts that do not answer are told by the source `hosts`."""
    of_host = {name: [*filter(None, [_finding(name, one, inventory, now)])] for name, one in found.items()}
    rows = [
        Row(name, [*((word, "") for word in words), state(of_host[name])], _data(found[name]))
        for name, *words in shown(found)
    ]
    findings = [one for name in sorted(of_host) for one in of_host[name]]
    return Seen(findings, [Table("deploys", "Last deploys", LABELS, rows)])


def _data(one: Deployed | None) -> dict[str, object]:
    return {"deployed": one is not None, **(asdict(one) if one else {})}


def _finding(name: str, one: Deployed | None, inventory: str, now: datetime) -> Finding | None:
    if one is None:
        return warning(name, "never deployed", "it is there, and no deploy was made", f"{_command(name, inventory)}")
    when = ago(datetime.fromtimestamp(one.started, UTC), now)
    what = f"{one.deploy}, by {one.admin}, begun {when}"
    if one.result == RUNNING:
        return warning(name, "deploy runs", f"{what}, is under way", f"Wait for its end; does it hang: {LOCKED}")
    if one.result not in ENDED:
        return None
    at = f" at {one.at}" if one.at else ""
    to_do = f"Mend what it said, and run it again: {_command(name, inventory, one.deploy)}"
    return warning(name, f"deploy {one.result}", f"{what}, {ENDED[one.result]}{at}", to_do)


def _command(name: str, inventory: str, deploy: str = "site") -> str:
    return f"`pyinfra {inventory} deploys/{deploy}.py --limit {name} --dry --diff`, then without `--dry`."


SOURCE = Source("deploys", "Deploys", "mainstay deploys", applies, look)
