"""A drill of one data set: what its phases do."""

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from backup.drills import book, budget, choosing, own_site, steps, verdict
from backup.drills.checks import Check, CheckFailed, Evidence, Fault, NotJudged, Restored
from backup.drills.choosing import Asked, Chosen
from backup.drills.course import Hearing, Order, Run, Say, begun, carry_out, keep, swept, version
from backup.drills.own_site import Wanted
from backup.drills.report import REHEARSAL, CheckRun, PhaseRun, Report, Rpo, Source
from backup.drills.restored import OnHost
from backup.reach import reach
from backup.sizes import size
from backup.store import COPY, WORDS
from inventories.errors import InputError
from inventories.inventory import LoadedSite


def run(site: LoadedSite, order: Order, hear: Hearing) -> Report:
    """One drill. Raises InputError for an order that cannot be meant, before anything is made."""
    own_site.declared(site)
    _check(site, order)
    return carry_out(
        Run(site, order, hear, *begun(site, str(order.data_set), hear, fault=order.fault, rehearse=order.rehearse)), _go
    )


def with_fault(site: LoadedSite, order: Order, say: Say) -> Order:
    """The order with the fault whose turn it is: the one after the last that was planted.

    Raises InputError when the role has none.
    """
    faults = [fault.name for fault in own_site.drill_of(order.data_set.plan).faults]
    if not faults:
        raise InputError(
            "--negative", str(order.data_set), "its role has no faults to plant", "see roles/*/recovery.py"
        )
    earlier = [one for one in book.reports(book.folder(site), say) if one.data_set == str(order.data_set)]
    last = next((faults.index(one.fault) for one in earlier if one.fault in faults), -1)
    return dataclasses.replace(order, fault=faults[(last + 1) % len(faults)])


def _check(site: LoadedSite, order: Order) -> None:
    faults = own_site.drill_of(order.data_set.plan).faults
    if order.fault and order.fault not in {fault.name for fault in faults}:
        hint = f"of {order.data_set.plan} there are: {', '.join(fault.name for fault in faults) or 'none'}"
        raise InputError("--fault", order.fault, "no such fault", hint)
    if order.rehearse and not own_site.drill_of(order.data_set.plan).rehearse:
        raise InputError(
            "--rehearse", order.rehearse, f"{order.data_set.plan} has no change to rehearse", "leave it out"
        )


def _go(one: Run, scratch: Path) -> None:
    order, drill = one.order, one.drill
    asked = Asked(order.data_set, order.store, order.snapshot, order.full, order.fallback, one.report.turn)
    with one.phase("plan") as words:
        words += swept(one)
        with reach(one.site) as way, choosing.chosen(way, asked, drill, one.hear.note) as chosen:
            one.chosen = chosen
        wanted = Wanted(one.site, one.own_name, order.store, (order.data_set,), {order.data_set.host: chosen.bytes})
        own = own_site.make(wanted, scratch)
        one.hourly_usd = budget.hourly_usd(one.site, own, one.hear.note)
        words.append(f"from {WORDS[order.store]}: {steps.told(chosen)}; ${one.hourly_usd:.3f} an hour")
        one.note(source=_source(chosen), rpo=_rpo(one, chosen), versions={"mainstay": version()})
        if order.full and not one.hear.agree(_size(one, chosen)):
            raise InputError("--full", "", "not agreed to", "--yes agrees to what was told")
    with one.phase("host") as words:
        own, source = steps.host(wanted, scratch, lambda line: one.hear.progress(0, line))
        words += [*(f"{name}: {host.plan} in {host.region}" for name, host in own.fleet.hosts.items())]
        words.append(f"only {source} may connect")
    with steps.on_host(one.site, own, order.data_set, chosen, one.report.turn, scratch) as on:
        _deploy(one, own, on)
        with one.phase("restore") as words:
            steps.restore(on.way, order.data_set, chosen, one.deadline, words.append, one.hear.progress)
            if one.report.rpo:
                newest = steps.newest_restored(on)
                one.note(rpo=one.report.rpo.model_copy(update={"newest_restored": newest}))
        with one.phase("start"):
            steps.start(own, on, one.deadline)
        with one.phase("checks") as words:
            words += _checks(one, on)
        if order.rehearse:
            _rehearse(one, on)
        with one.phase("report"):
            seen = {**one.report.versions, **steps.versions(on)}
            one.note(versions=seen, estimate=verdict.estimate(one.report))
        if order.keep:
            keep(one, own)


def _deploy(one: Run, own: LoadedSite, on: OnHost) -> None:
    """What packages take is a phase of its own, as far as apt's log tells it apart."""
    begun, clock, ok = datetime.now(UTC), time.monotonic(), False
    one.at = "deploy"
    one.note(phase="deploy")
    one.hear.phase("deploy")
    try:
        steps.deploy(own, one.deadline)
        ok = True
    finally:
        seconds = time.monotonic() - clock
        apt = min(seconds, steps.package_seconds(on)) if ok else 0.0
        if ok:
            one.add(PhaseRun(name="packages", begun=begun, seconds=apt))
        one.add(PhaseRun(name="deploy", begun=begun, seconds=seconds - apt, ok=ok))


def _checks(one: Run, on: OnHost) -> list[str]:
    planted = ""
    if one.order.fault:
        fault = _fault(one)
        planted = fault.plant(on)
        one.hear.note(f"planted {fault.name}: {planted}")
    wanted = [check for check in one.drill.checks if check.before or not one.order.rehearse]
    told = _made(one, on, [_newest(one), *wanted])
    return [f"planted {one.order.fault}: {planted}", told] if planted else [told]


def _rehearse(one: Run, on: OnHost) -> None:
    """A change to a copy that is as it was saved, and then the checks once more; not where the first ones failed."""
    before, after = REHEARSAL
    if any(run.outcome in ("failed", "timed out") for run in one.report.checks):
        return
    with one.phase(before) as words:
        assert one.drill.rehearse, "who asks for a rehearsal has looked whether the role has one"
        rehearsed = one.drill.rehearse(on, one.order.rehearse)
        one.note(downtime_s=rehearsed.downtime_s)
        words += rehearsed.told
    with one.phase(after) as words:
        wanted = [check for check in one.drill.checks if check.after]
        words.append(_made(one, on, [dataclasses.replace(check, name=f"{check.name}, {after}") for check in wanted]))


def _made(one: Run, on: OnHost, checks: Sequence[Check]) -> str:
    """Makes them, and says how many ended how."""
    done: list[CheckRun] = []
    earlier = one.report.checks
    for check in checks:
        done.append(steps.check(check, on, one.deadline))
        one.note(checks=(*earlier, *done))
        one.hear.progress(0, f"{check.name}: {done[-1].outcome}")
    return ", ".join(f"{count} {word}" for word, count in Counter(run.outcome for run in done).items())


def _size(one: Run, chosen: Chosen) -> str:
    """What a restore of all is, by the last drill's throughput."""
    earlier = book.reports(book.folder(one.site), one.hear.note)
    rates = (it.estimate.bytes_per_second for it in earlier if it.estimate and it.data_set == one.report.data_set)
    rate = int(next(rates, 0))
    much = f"all of it is {size(chosen.bytes)}"
    if not rate:
        return f"{much}, at ${one.hourly_usd:.3f} an hour; how long it takes is not known yet"
    hours = chosen.bytes / rate / 3600
    cost = one.hourly_usd * math.ceil(hours)
    return f"{much}: {hours:.1f} h at {size(rate)}/s, as the last drill had; about ${cost:.2f}"


def _newest(one: Run) -> Check:
    """The ledger's own facts."""

    def look(_: Restored) -> Evidence:
        chosen = one.chosen
        assert chosen, "what is restored was chosen before"
        told = f"snapshot {chosen.snapshot.original[:8]} of {chosen.snapshot.time:%Y-%m-%d %H:%M} UTC"
        if one.order.snapshot:
            return Evidence((f"{told} was asked for by name",))
        if not chosen.should_be:
            raise NotJudged("the ledger knows of no complete backup")
        if chosen.behind and one.order.store != COPY and not one.order.fallback:
            raise CheckFailed(f"{told} is {chosen.behind} backups older than the newest, {chosen.should_be[:8]}")
        behind = f", {chosen.behind} behind the vault" if chosen.behind else ", the newest complete one"
        return Evidence((f"{told}{behind}",))

    return Check("newest", "what was restored is the backup that should be the newest", "the host's ledger", look)


def _fault(one: Run) -> Fault:
    return next(fault for fault in one.drill.faults if fault.name == one.order.fault)


def _source(chosen: Chosen) -> Source:
    return Source(
        store=chosen.store,  # type: ignore[arg-type]
        snapshot=chosen.snapshot.id,
        original=chosen.snapshot.original,
        taken=chosen.snapshot.time,
        behind=chosen.behind,
        files=len(chosen.wanted),
        bytes=chosen.bytes,
        of_files=len(chosen.saved),
        of_bytes=sum(file.size for file in chosen.saved),
        part=chosen.part,
        parts=chosen.parts,
    )


def _rpo(one: Run, chosen: Chosen) -> Rpo:
    age = one.report.begun - chosen.snapshot.time
    return Rpo(seconds=age.total_seconds(), budget_s=chosen.budget.total_seconds(), newest_saved=chosen.newest_saved)
