"""The backup agent: what runs on a host to save the data of its roles. Called by the deploys of roles with data."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from backup import custody, record
from backup.zipapp import INSTALLED, zipapp
from roles.agent import plans
from roles.agent.ledgers import ABOVE, STATE, folder, ledgers
from roles.agent.plans import CERTIFICATE, FOLDER, UNITS, Planned
from roles.base import control
from roles.common import Unit, packages, services, tree

PACKAGES: dict[str, str | None] = {"python3": "3.11", "restic": "0.17"}


@deploy("agent")
def agent() -> None:
    """Schedules the backups of this host's roles; does nothing where the fleet has no vault, or the host no data."""
    site = host.data.site
    if plans.vault(site) and (planned := plans.planned(site, host.data.host_name)):
        reader = "control" if control.watched(site, host.data.host_name) else "root"
        install(planned, custody.certificate(site), reader, partial(record.ledger_of, site, host.data.host_name))


def install(
    planned: Sequence[Planned],
    certificate: str,
    reader: str = "root",
    collected: Callable[[str], bytes] = lambda _: b"",
) -> None:
    """The agent with these plans.

    reader: the group that may read their ledgers. collected: what the record has of a plan's ledger.
    """
    needed = dict(PACKAGES)
    if any(one.recovery.consistency == "btrfs" for one in planned):
        needed["btrfs-progs"] = None
    packages("packages", needed)
    generated: dict[str, str | bytes] = {INSTALLED: zipapp(), CERTIFICATE: certificate}
    for one in planned:
        generated[f"{FOLDER}/{one.name}.json"] = plans.plan_file(one)
        generated |= plans.unit_files(one)
    tree(
        "files",
        Path(__file__).parent / "tree",
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
    ledgers(name="ledgers", plans=[one.name for one in planned], group=reader, collected=collected)
    services("timers", [unit for one in planned for unit in _timers(one)])


def _timers(one: Planned) -> list[Unit]:
    """Restarted when what they start has changed too: systemd would keep the old definition. No run is broken off."""
    found = []
    for kind in ("mainstay-backup", "mainstay-backup-verify"):
        service = (f"{UNITS}/{kind}@.service", f"{UNITS}/{kind}@{one.name}.service.d")
        found.append(Unit(f"{kind}@{one.name}.timer", files=service))
    return found
