"""The hosts of a site: each asked once, all at the same time, how it is; and from outside by TLS."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backup import seen
from backup.audited import listed
from backup.reach import Reach, Unreachable, answer, reach
from backup.rules import ago
from backup.sizes import clean
from doctor import site as doctor
from doctor.hosts import AT_ONCE, Clock, has_account, unreached
from inventories import departed
from inventories.command_line import as_given
from inventories.envelope import READER
from inventories.inventory import LoadedSite
from inventories.secrets import CONTROL
from status.host import Said, cells, judge
from status.told import Finding, Row, Seen, Source, Table, iso, of_backup, state, unseen, warning

PROGRAM = Path(__file__).with_name("on_host.py").read_bytes()
COMMAND = ("python3", "-I", "-")
ASK_S = 150
"""How long a host may take: apt alone needs seconds on a busy one, and is given up after less. ssh gives up connecting
after five."""
LABELS = ("host", "Debian", "kernel", "updates", "reboot", "units", "disk", "inodes", "clock", "certificate", "state")


@dataclass(frozen=True)
class Answer:
    """What a host said, and when it was asked, said it and was heard."""

    said: Said
    clock: Clock


Looks = Mapping[str, list[seen.Look]]
"""What its web server shows, by host."""


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError where it is not clear who I am."""
    if site.local:
        told = [unseen(name, "no network leads to it", "At its console: `mainstay hsm audit`.") for name in hosts(site)]
        return Seen(told, [_table([_absent(one.about, "at its console", [one]) for one in told])])
    user = site.ssh_user
    there = provisioned(site)
    asked = [name for name in hosts(site) if name in there and has_account(site, user, name)]
    with reach(site) as way, ThreadPoolExecutor(AT_ONCE + 1) as pool:
        looks = pool.submit(seen.looks, site)
        answers = dict(zip(asked, pool.map(partial(ask, way), asked), strict=True))
        shown: dict[str, list[seen.Look]] = {}
        for one in looks.result():
            shown.setdefault(one.server.host, []).append(one)
    return together(site, answers, shown, now)


def hosts(site: LoadedSite) -> list[str]:
    """All that are declared."""
    return sorted(site.fleet.hosts)


def provisioned(site: LoadedSite) -> set[str]:
    """Those that exist, by the lock file as it is now."""
    return {name for name, locked in site.lock.hosts.items() if locked.host_keys}


def ask(way: Reach, name: str) -> Answer | str:
    """What the host says, or why it does not."""
    asked = time.time()
    try:
        done = answer(way.admin(name, *COMMAND), name, ASK_S, PROGRAM)
        said = Said.model_validate_json(done.stdout)
    except Unreachable as error:
        return str(error).splitlines()[-1].removeprefix(f"{name}: ")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"what it says of itself is not to be understood: {'.'.join(map(str, first['loc']))} {first['msg']}"
    return Answer(said, Clock(asked, said.time, time.time()))


def together(site: LoadedSite, answers: Mapping[str, Answer | str], looks: Looks, now: datetime) -> Seen:
    """Findings and a row of each host that is declared."""
    rows, findings = [], []
    for name in hosts(site):
        one = answers.get(name)
        own = [of_backup(finding) for finding in seen.findings(looks.get(name, ()))]
        if isinstance(one, Answer):
            base: Any = site.settings(name)["base"]
            admins = {admin.name for admin in site.admins.for_role(site.fleet.hosts[name].role)}
            deploy = f"pyinfra {as_given(site.path)} deploys/base.py --limit {name}"
            judged = judge(name, one.said, one.clock, reboots=base.reboot, admins=admins, base=deploy)
            own = [*judged, *own]
            rows.append(_row(name, one, own, looks.get(name, ()), now))
        else:
            own.insert(0, _unseen(site, name, one))
            rows.append(_absent(name, own[0].kind, own))
        findings += own
    return Seen(findings, [_table(rows)])


def _unseen(site: LoadedSite, name: str, why: str | None) -> Finding:
    if why is not None:
        told = unreached(site, name, why)
        says = f"{told.says}{_perhaps_open(site, name)}"
        return unseen(name, says, f"{told.mend}; `mainstay doctor --inventory {doctor.named(site)}`")
    if name in provisioned(site):
        says = f"{site.ssh_user} has no account there, and cannot look"
        return unseen(name, says, "Ask an admin whose roles in admins.toml include the host's.")
    provision = f"pull the commit that has it, or run: `pyinfra {doctor.named(site)} deploys/provision.py`"
    return warning(name, "not provisioned", "it is declared, and the lock file does not have it", provision)


def _perhaps_open(site: LoadedSite, name: str) -> str:
    """A deploy that did not reach it has locked nobody out."""
    admins = {admin.name for admin in site.admins.for_role(site.fleet.hosts[name].role)}
    gone = sorted(departed.read(site.files).keys() - admins - {CONTROL, READER})
    return f"; who left may have an account there still: {listed(gone)}" if gone else ""


def _row(name: str, one: Answer, own: list[Finding], looks: "list[seen.Look] | tuple[()]", now: datetime) -> Row:
    ends = min((each.ends for each in looks if each.ends), default=None)
    told = one.said.model_dump() | {
        "seen": True,
        "clock_apart_s": round(one.clock.apart, 3),
        "reboot_due_since": iso(one.said.reboot_since),
        "certificates": [{"name": each.server.name, "ends": iso(each.ends)} for each in looks],
    }
    return Row(name, [*cells(one.said, one.clock), (ago(ends, now) if ends else "-", ""), state(own)], told)


def _absent(name: str, words: str, own: list[Finding]) -> Row:
    blank = [("-", "")] * (len(LABELS) - 3)
    return Row(name, [(words, ""), *blank, state(own)], {"seen": False})


def _table(rows: list[Row]) -> Table:
    return Table("hosts", "Hosts", LABELS, [Row(clean(row.name), row.cells, row.data) for row in rows])


SOURCE = Source("hosts", "Hosts", "mainstay doctor", lambda _: True, look)
