"""The backup agent: what runs on a host to save the data of its roles. Called by the deploys of roles with data."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from backup import record
from backup.agent.plan import SAVE
from backup.zipapp import INSTALLED, zipapp
from roles.agent import plans
from roles.agent.ledgers import ABOVE, STATE, folder, ledgers
from roles.agent.plans import FOLDER, UNITS, Planned
from roles.base import control
from roles.common import Unit, packages, services, tree

PACKAGES: dict[str, str | None] = {"python3": "3.11", "restic": "0.17"}


@deploy("agent")
def agent() -> None:
    """Schedules the backups of this host's roles, or lets it restore those of another fleet's host.

    Does nothing where there is no vault or copy to save to or restore from, or the host has no data.
    """
    site, name = host.data.site, host.data.host_name
    if plans.has_repositories(site) and (planned := plans.planned(site, name)):
        reader = "control" if control.watched(site, name) else "root"
        install(planned, plans.certificates(site), reader, partial(record.ledger_of, site, name))


def install(
    planned: Sequence[Planned],
    certificates: Mapping[str, str],
    reader: str = "root",
    collected: Callable[[str], bytes] = lambda _: b"",
) -> None:
    """The agent with these plans. Of those that can only restore there is no unit and no ledger to begin with.

    certificates: of the repositories' server, by their paths. reader: the group that may read their ledgers. collected:
    what the record has of a plan's ledger.
    """
    saving = [one for one in planned if one.may == SAVE]
    needed = dict(PACKAGES)
    if any(one.recovery.consistency == "btrfs" for one in planned):
        needed["btrfs-progs"] = None
    packages("packages", needed)
    generated: dict[str, str | bytes] = {INSTALLED: zipapp(), **certificates}
    for one in planned:
        generated[f"{FOLDER}/{one.name}.json"] = plans.plan_file(one)
    for one in saving:
        generated |= plans.unit_files(one)
    tree(
        "files",
        Path(__file__).parent / "tree" if saving else None,
        generated=generated,
        directories=(STATE, *(folder(one.name) for one in planned)),
        modes={
            INSTALLED: "0755",
            FOLDER: "0700",
            f"{FOLDER}/*": "0600",
            ABOVE: "0711",
            STATE: "0711",
            f"{STATE}/*": "0710",
        },
        owners={f"{STATE}/*": f"root:{reader}"},
        secret=(f"{FOLDER}/*.json",),
        validate={f"{FOLDER}/{one.name}.json": f"python3 -I {INSTALLED} check {one.name}" for one in planned},
    )
    if saving:
        ledgers(name="ledgers", plans=[one.name for one in saving], group=reader, collected=collected)
        services("timers", [unit for one in saving for unit in _timers(one)])


def _timers(one: Planned) -> list[Unit]:
    """Restarted when what they start has changed too: systemd would keep the old definition. No run is broken off."""
    found = []
    for kind in ("mainstay-backup", "mainstay-backup-verify"):
        service = (f"{UNITS}/{kind}@.service", f"{UNITS}/{kind}@{one.name}.service.d")
        found.append(Unit(f"{kind}@{one.name}.timer", files=service))
    return found
