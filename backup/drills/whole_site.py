"""`mainstay drill site`: the whole site is lost, but for the repository, a key, and the second copy.

All hosts are made anew in a network of their own, under the drill's own names, with secrets of their own; the new vault
is filled from the second copy, and every data set restored from it; then hosts have to save to the new vault, and the
new control host has to take in what they say.
"""

import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backup import custody
from backup.custody import DataSet
from backup.drills import budget, checklist, choosing, own_site, steps
from backup.drills.checks import BUDGET_S, Check, CheckFailed, Drill, Evidence, Restored
from backup.drills.choosing import Asked, Chosen
from backup.drills.course import Hearing, Order, Run, begun, carry_out, keep, version
from backup.drills.own_site import Wanted
from backup.drills.report import SITE, CheckRun, Report, Rpo, Source
from backup.drills.restored import OnHost
from backup.drills.steps import StepFailed
from backup.reach import LEDGERS, Reach, Unreachable, reach
from backup.restic_process import NoRepository
from backup.sizes import counted, size
from backup.store import COPY, VAULT, Store
from backup.zipapp import INSTALLED
from inventories.errors import InputError
from inventories.inventory import LoadedSite

STATE = "/run/mainstay-drill"
"""Where the agent keeps its ledger while it restores: the host's own is given back by the deploy, and only if empty."""
QUIET = "systemctl stop 'mainstay-backup*.timer' 'mainstay-control@*.timer'"
"""Nothing changes what came back while it is looked at."""
SAVE_S = 600
FACTOR = 2
"""So much longer than its slowest data set a whole site may take: its hosts wait for each other."""


@dataclass
class SiteRun(Run):
    """A drill of the whole site under way."""

    each: dict[DataSet, Chosen] = field(default_factory=dict)

    @property
    def drill(self) -> Drill:
        """The budgets of all roles together: the largest of each, FACTOR times."""
        drills = [own_site.drill_of(role) for role in {one.plan for one in custody.data_sets(self.site.fleet)}]
        budgets = {
            name: FACTOR * max(drill.budget_s.get(name, most) for drill in drills) for name, most in BUDGET_S.items()
        }
        return Drill(checks=(), budget_s=budgets)


def drill(site: LoadedSite, hear: Hearing, *, keep: bool) -> Report:
    """One game day. Raises InputError where the site has no second copy, or does not declare drills."""
    own_site.declared(site)
    if not site.fleet.backup.copy_:
        hint = "declare [backup.copy]: without it nothing survives the loss of the vault"
        raise InputError(site.path, "backup.copy", "this site has no second copy to come back from", hint)
    order = Order(DataSet(site.name, SITE), COPY, keep=keep)
    report = carry_out(SiteRun(site, order, hear, *begun(site, SITE, hear)), _go)
    checklist.write(site, report)
    return report


def _go(one: Run, scratch: Path) -> None:
    assert isinstance(one, SiteRun)
    sets = custody.data_sets(one.site.fleet)
    with one.phase("plan") as words:
        with reach(one.site) as way:
            for data_set in sets:
                asked = Asked(data_set, COPY, turn=one.report.turn)
                with choosing.chosen(way, asked, own_site.drill_of(data_set.plan), one.hear.note) as chosen:
                    one.each[data_set] = chosen
                words.append(f"{data_set}: {steps.told(chosen)}")
        wanted = Wanted(one.site, one.own_name, COPY, sets, room(one.site, one.each), whole=True)
        own = own_site.make(wanted, scratch)
        one.hourly_usd = budget.hourly_usd(one.site, own, one.hear.note)
        one.note(source=_source(one), rpo=_rpo(one), versions={"mainstay": version()})
    with one.phase("host") as words:
        own, source = steps.host(wanted, scratch, lambda line: one.hear.progress(0, line))
        words.append(f"{', '.join(own.fleet.hosts)}; only they and {source} may connect")
    with one.phase("deploy"):
        steps.deploy(own, one.deadline)
    with reach(one.site) as theirs, reach(own) as ours:
        with one.phase("restore") as words:
            words += _restore(one, theirs, ours)
        with one.phase("start"):
            steps.deploy(own, one.deadline)
        with one.phase("checks") as words:
            words += _checks(one, own, ours, scratch)
        with one.phase("report"):
            names = {str(data_set): steps.versions(_on(one, ours, data_set, scratch)) for data_set in sets}
            seen = {f"{name}: {what}": which for name, found in names.items() for what, which in found.items()}
            one.note(versions={**one.report.versions, **seen})
    if one.order.keep:
        keep(one, own)


def room(site: LoadedSite, each: Mapping[DataSet, Chosen]) -> dict[str, int]:
    """How much each host gets; the vault gets whole snapshots, also those of which a part is restored."""
    found = {data_set.host: chosen.bytes for data_set, chosen in each.items()}
    vault = custody.vault_of(site)
    assert vault, "a site with a second copy has a vault"
    return found | {vault[0]: sum(file.size for chosen in each.values() for file in chosen.saved)}


def _source(one: SiteRun) -> Source:
    """Of all together: the oldest backup says how much would be lost."""
    oldest = min(one.each.values(), key=lambda chosen: chosen.snapshot.time)
    files = [(chosen.wanted, chosen.saved) for chosen in one.each.values()]
    return Source(
        store="copy",
        snapshot=oldest.snapshot.id,
        original=oldest.snapshot.original,
        taken=oldest.snapshot.time,
        files=sum(len(wanted) for wanted, _ in files),
        bytes=sum(file.size for wanted, _ in files for file in wanted),
        of_files=sum(len(saved) for _, saved in files),
        of_bytes=sum(file.size for _, saved in files for file in saved),
    )


def _rpo(one: SiteRun) -> Rpo:
    """The worst of all data sets, by how much of its budget it takes."""
    ages = [(one.report.begun - chosen.snapshot.time, chosen.budget) for chosen in one.each.values()]
    age, budget_ = max(ages, key=lambda pair: pair[0] / pair[1])
    return Rpo(seconds=age.total_seconds(), budget_s=budget_.total_seconds())


def _restore(one: SiteRun, theirs: Reach, ours: Reach) -> list[str]:
    """Fills the new vault from the second copy, then every host from the vault, all at the same time."""
    with _stores(theirs, ours) as (copy, vault):
        ids = {data_set: _filled(copy, vault, data_set, chosen) for data_set, chosen in one.each.items()}
    one.hear.progress(0, "the vault is filled")

    def of(data_set: DataSet) -> str:
        steps.as_root(ours, data_set.host, f"{QUIET}; mkdir -p {STATE}", SAVE_S)
        steps.restore(
            ours, data_set, one.each[data_set], one.deadline, one.hear.note, one.hear.progress, ids[data_set], STATE
        )
        return f"{data_set}: {size(one.each[data_set].bytes)}"

    with ThreadPoolExecutor(len(ids)) as pool:
        return list(pool.map(of, ids))


@contextmanager
def _stores(theirs: Reach, ours: Reach) -> Iterator[tuple[Store, Store]]:
    """Production's second copy, and the new vault."""
    with ExitStack() as stack:
        yield stack.enter_context(theirs.store(COPY)), stack.enter_context(ours.store(VAULT))


def _filled(copy: Store, vault: Store, data_set: DataSet, chosen: Chosen) -> str:
    """Copies the one snapshot into the new vault; returns its id there."""
    restic, source = vault.restic(data_set), copy.repository(data_set)
    try:
        restic.snapshots()
    except NoRepository:
        restic.init(chunks_like=source)
    restic.copy(source, [chosen.snapshot.id])
    there = [one.id for one in restic.snapshots() if one.original == chosen.snapshot.original]
    if not there:
        raise StepFailed(f"{data_set}: its snapshot did not come into the new vault")
    return there[-1]


def _on(one: SiteRun, ours: Reach, data_set: DataSet, scratch: Path) -> OnHost:
    return OnHost(one.site, ours, data_set, one.each[data_set], one.report.turn, scratch)


def _checks(one: SiteRun, own: LoadedSite, ours: Reach, scratch: Path) -> list[str]:
    """Those of every role, and that the hosts work together."""
    for name in own.fleet.hosts:
        steps.as_root(ours, name, QUIET, SAVE_S)
    done: list[CheckRun] = []
    checks = [(data_set, check) for data_set in one.each for check in own_site.drill_of(data_set.plan).checks]
    for data_set, check in (*checks, *((data_set, _saves(ours, data_set)) for data_set in one.each)):
        found = steps.check(check, _on(one, ours, data_set, scratch), one.deadline)
        done.append(found.model_copy(update={"name": f"{data_set} {check.name}"}))
        one.note(checks=tuple(done))
        one.hear.progress(0, f"{data_set} {check.name}: {found.outcome}")
    return [counted(len(done), "check")]


def _saves(ours: Reach, data_set: DataSet) -> Check:
    """The wiring: host to vault, host to control host."""

    def look(_: Restored) -> Evidence:
        try:
            steps.as_root(ours, data_set.host, f"{INSTALLED} run {shlex.quote(data_set.plan)}", SAVE_S)
            with ours.store(VAULT) as vault:
                there = vault.restic(data_set).snapshots()
            told = [f"a backup of its own is in the new vault, {there[-1].id[:8]}"]
            if name := custody.control_host(ours.site):
                steps.as_root(ours, name, "mainstay backup collect", SAVE_S)
                known = f"grep -c {there[-1].id} {LEDGERS}/{data_set.host}/{data_set.plan}.jsonl"
                steps.as_root(ours, name, known, SAVE_S)
                told.append(f"{name} has it on its record")
        except Unreachable as error:
            raise CheckFailed(str(error)) from None
        return Evidence(tuple(told))

    what = "what was restored is saved again, and the control host knows of it"
    return Check("saves", what, "the new vault, and the new control host's record", look, limit_s=SAVE_S)
