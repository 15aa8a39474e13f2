"""The hosts of a site: each asked once, all at the same time, how it is; and from outside by TLS."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from backup import seen
from backup.audited import listed
from backup.rules import ago
from backup.sizes import clean
from doctor import site as doctor
from doctor.hosts import unreached
from inventories import departed
from inventories.command_line import as_given
from inventories.envelope import READER
from inventories.inventory import LoadedSite
from inventories.secrets import CONTROL
from status.asked import Answer, Answers, answers, hosts, provisioned
from status.host import cells, judge
from status.told import Finding, Row, Seen, Source, Table, iso, of_backup, state, unseen, warning

LABELS = ("host", "Debian", "kernel", "updates", "reboot", "units", "disk", "inodes", "clock", "certificate", "state")


Looks = Mapping[str, list[seen.Look]]
"""What its web server shows, by host."""


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError where it is not clear who I am."""
    if site.local:
        told = [unseen(name, "no network leads to it", "At its console: `mainstay hsm audit`.") for name in hosts(site)]
        return Seen(told, [_table([_absent(one.about, "at its console", [one]) for one in told])])
    with ThreadPoolExecutor(1) as aside:
        looks = aside.submit(seen.looks, site)
        said = answers(site, now)
        shown: dict[str, list[seen.Look]] = {}
        for one in looks.result():
            shown.setdefault(one.server.host, []).append(one)
    return together(site, said, shown, now)


def together(site: LoadedSite, said: Answers, looks: Looks, now: datetime) -> Seen:
    """Findings and a row of each host that is declared."""
    rows, findings = [], []
    for name in hosts(site):
        one = said.get(name)
        own = [of_backup(finding) for finding in seen.findings(looks.get(name, ()))]
        if isinstance(one, Answer):
            base: Any = site.settings(name)["base"]
            deploy = f"pyinfra {as_given(site.path)} deploys/base.py --limit {name}"
            judged = judge(name, one.said, one.clock, reboots=base.reboot, admins=_admins(site, name), base=deploy)
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


def _admins(site: LoadedSite, name: str) -> set[str]:
    """Who is to have an account on a host."""
    return {admin.name for admin in site.admins.for_role(site.fleet.hosts[name].role)}


def _perhaps_open(site: LoadedSite, name: str) -> str:
    """A deploy that did not reach it has locked nobody out."""
    gone = sorted(departed.read(site.files).keys() - _admins(site, name) - {CONTROL, READER})
    return f"; who left may have an account there still: {listed(gone)}" if gone else ""


def _row(name: str, one: Answer, own: list[Finding], looks: "list[seen.Look] | tuple[()]", now: datetime) -> Row:
    ends = min((each.ends for each in looks if each.ends), default=None)
    told = one.said.model_dump(exclude={"drift", "deploys"}) | {
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
