"""Where the record of all backups lies, and how a laptop comes by it.

The record is a folder of ledgers (backup/collected.py). The control host keeps it; where the fleet has none, each
admin's machine keeps its own. A laptop of a fleet with a control host has a copy, fetched by SSH before it is used:
what is fetched must continue what was fetched before. What a laptop does to a data set is noted in the control host's
record.

While the control host does not answer, a laptop works in a folder apart: its copy, what the newest backup of the record
has beyond that, and what hosts say themselves. Notes made meanwhile wait, and are handed over when it is back.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from backup import collected, custody, fetched
from backup.custody import CONTROL_ROLE, DataSet
from backup.entry import Entry, parse, render
from backup.expected import SKEW
from backup.ledger import LedgerError
from backup.reach import LEDGERS, Reach, Unreachable, answer, reach, state
from backup.restic_process import ResticError
from inventories.errors import InputError
from inventories.inventory import LoadedSite

NOTED = ("check", "copy", "retain", "accept")
"""Kinds of entries that a laptop may add to the control host's record."""
FETCHED, MEANWHILE = ".fetched", ".meanwhile"
"""Folders in a laptop's copy: as it came, and the one worked in while the control host does not answer."""
FETCHING, NOTING = ".lock", ".noting"
"""Locks in it: the first for as long as the control host takes, the second for a moment."""
COMMAND = ("sudo", "-n", "/usr/local/bin/mainstay", "backup")
COLLECT_S, NOTE_S = 600, 60
"""How long the control host may take for it."""
THERE = "the control host"
KEPT = "what this machine noted is kept, and handed over the next time"
Say = Callable[[str], None]


def is_copy(site: LoadedSite) -> bool:
    """Whether the record lies on another machine, the control host."""
    return bool(custody.control_host(site)) and not site.control


def folder(site: LoadedSite) -> Path:
    """The record as this machine has it now."""
    apart = state(site) / MEANWHILE
    return apart if is_copy(site) and apart.exists() else state(site)


def fetch(way: Reach, say: Say) -> bool:
    """Has the control host collect, and fetches its record; False if it does not answer, which is said.

    Then `folder` is one apart, with what the newest backup of the record knows: hosts have to be asked.
    """
    with _alone(way.site):
        try:
            _collect_there(way, say)
            _fetch(way, say)
        except Unreachable as error:
            say(f"{error}\n  going on without the control host: with its backed-up record, and by asking the hosts")
            _work_apart(way, say)
            return False
    return True


def ledger_of(site: LoadedSite, host: str, plan: str) -> bytes:
    """A host's ledger as collected; empty if there is nothing. Nothing is collected now: its loss is no dispute."""
    if is_copy(site):
        with reach(site) as way, _alone(site), suppress(Unreachable):
            _fetch(way, lambda _: None)
    return collected.whole_lines(folder(site), host, plan)


def _fetch(way: Reach, say: Say) -> None:
    try:
        _hand_over(way)
    except Unreachable as error:
        say(f"{error}\n  {KEPT}")
    _take(way, _all(way.site), say)


def _take(way: Reach, data_sets: Sequence[tuple[str, str]], say: Say) -> None:
    """Has the control host's record as it is now, and ends what was apart. What is in the record waits no more."""
    site, apart = way.site, state(way.site) / MEANWHILE
    theirs = _rsync(way)
    for place in [state(site), apart] if apart.exists() else [state(site)]:
        for told in fetched.take(place, theirs, data_sets, older=place == apart):
            say(told)
    with _alone(site, NOTING):
        if apart.exists():
            _keep_contradictions(apart, state(site))
            collected.bring(state(site), apart)
            shutil.rmtree(apart)
        for host, plan in data_sets:
            collected.drop_noted(state(site), host, plan)


def note(site: LoadedSite, entry: Entry) -> None:
    """Writes down what was done to a data set; on a laptop of a fleet with a control host, to be handed over."""
    if is_copy(site):
        with _alone(site, NOTING):
            collected.postpone(folder(site), entry)
    else:
        collected.note(state(site), entry)


def hand_over(site: LoadedSite, say: Say) -> None:
    """Gives the control host what this machine noted, and sees it written there.

    While that cannot take it, it waits for the next time.
    """
    if not is_copy(site):
        return
    with reach(site) as way, _alone(site):
        if folder(site) != state(site):
            return
        try:
            if given := _hand_over(way):
                _take(way, given, say)
        except Unreachable as error:
            say(f"{error}\n  {KEPT}")


def accept(site: LoadedSite, sent: bytes) -> None:
    """On the control host: writes down what an admin's laptop did, a line each.

    Raises InputError for what that may not write; nothing is written then. And for what has no place in the record now,
    which must not hold up the others: they are written before.
    """
    entries = [_accepted(line) for line in sent.splitlines()]
    refused = []
    for entry in entries:
        if problem := _out_of_place(site, entry):
            refused.append(problem)
        else:
            collected.note_once(state(site), entry)
    if refused:
        raise refused[0]


def _out_of_place(site: LoadedSite, entry: Entry) -> InputError | None:
    """A data set that this site does not have, which a laptop may know of before; a time that is yet to come, which
    would hide for as long that nothing came since."""
    data_set = DataSet(entry.host, entry.plan)
    if data_set not in custody.data_sets(site.fleet):
        return InputError(
            "entry", "host", f"{data_set} is no data set of this site", "if it is new: deploys/control.py"
        )
    if max(entry.start, entry.written) > datetime.now(UTC) + SKEW:
        hint = "on the machine that noted it: mend the clock (`timedatectl`), and the dates in HOST/PLAN.pending.jsonl"
        return InputError("entry", "start", f"{entry.kind} of {entry.written:%Y-%m-%d %H:%M} is yet to come", hint)
    return None


def _accepted(line: bytes) -> Entry:
    try:
        entry = parse(line)
    except ValueError as error:
        raise InputError("entry", "", str(error), "`mainstay backup` sends it by itself") from None
    if entry.kind not in NOTED:
        raise InputError("entry", "kind", f"{entry.kind!r} is not written by admins", f"these are: {', '.join(NOTED)}")
    return entry


def settle(way: Reach, *, dry: bool, say: Say) -> None:
    """The control host was made again: goes by its record, and gives it what it lacks of this machine's.

    Raises Unreachable, and InputError where that does not explain what is there.
    """
    site = way.site
    with _alone(site):
        _collect_there(way, say)
        _fetch(way, lambda _: None)
        settled = False
        for host, plan in _all(site):
            try:
                lacks = fetched.settle(state(site), state(site) / FETCHED, host, plan, dry=dry)
            except LedgerError as error:
                hint = "somebody changed it: docs/runbooks/host-compromised.md"
                raise InputError(f"{host}:{plan}", "", str(error), hint) from None
            if lacks is not None:
                settled = True
                say(f"{host}:{plan}: goes by the control host's record, which lacks {len(lacks)} of the entries here")
                for entry in lacks:
                    say(f"  {entry.kind} of {entry.start:%Y-%m-%d %H:%M}: {entry.outcome}")
        if not settled:
            say("the control host's record continues what is here: there is nothing to settle")
        elif not dry:
            _fetch(way, say)


def _all(site: LoadedSite) -> list[tuple[str, str]]:
    return [(one.host, one.plan) for one in custody.data_sets(site.fleet)]


def _collect_there(way: Reach, say: Say) -> None:
    done = answer(way.admin(custody.control_host(way.site), *COMMAND, "collect"), THERE, COLLECT_S)
    for line in done.stderr.decode(errors="replace").splitlines():
        say(line)


def _rsync(way: Reach) -> Path:
    """The control host's folder as it is now, but for what a laptop has no use for; only what changed is sent."""
    target = state(way.site) / FETCHED
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = ["--recursive", "--times", "--delete", "--include-from=-", "--exclude=*", "--rsync-path", "sudo -n rsync"]
    words = ["rsync", *options, "--rsh", " ".join(way.ssh)]
    wanted = [f"/{one}\n" for host, plan in _all(way.site) for one in (f"{host}/", *fetched.taken(host, plan))]
    there = f"{custody.control_host(way.site)}:{LEDGERS}/"
    answer([*words, there, f"{target}/"], THERE, COLLECT_S, "".join(wanted).encode())
    return target


def _hand_over(way: Reach) -> list[tuple[str, str]]:
    """Sends what waits of the data sets that there are; returns of which. It waits on, until it is in the record."""
    site, there = way.site, _all(way.site)
    kept = [entry for _, entries in collected.postponed(folder(site)) for entry in entries]
    waiting = [entry for entry in kept if (entry.host, entry.plan) in there]
    if waiting:
        sent = b"\n".join(map(render, waiting))
        answer(way.admin(custody.control_host(site), *COMMAND, "note"), THERE, NOTE_S, sent)
    return list(dict.fromkeys((entry.host, entry.plan) for entry in waiting))


def _keep_contradictions(apart: Path, kept: Path) -> None:
    for other in apart.glob("*/*.other.jsonl"):
        target = kept / other.relative_to(apart)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        other.replace(target)


def _work_apart(way: Reach, say: Say) -> None:
    site, apart = way.site, state(way.site) / MEANWHILE
    if not apart.exists():
        fresh = apart.with_name(f"{MEANWHILE}.new")
        with _alone(site, NOTING):
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(state(site), fresh, ignore=shutil.ignore_patterns(".*"))
            fresh.rename(apart)
    data_set = DataSet(custody.control_host(site), CONTROL_ROLE)
    with TemporaryDirectory(prefix="mainstay-") as made, way.stores(say) as stores:
        for store in stores.values():
            try:
                store.restic(data_set).restore("latest", Path(made, store.name), include=["/ledgers"])
            except (ResticError, InputError) as error:
                say(f"the record cannot be had from {store.words}: {error}")
                continue
            for told in fetched.take(apart, Path(made, store.name, "ledgers"), _all(site), older=True):
                say(told)
            say(f"the record is that of the newest backup in {store.words}, with what hosts add to it")
            return


def _taken(lock: int) -> bool:
    """Asked again rather than waited for: a deploy does all hosts in one thread, of which another may hold it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone(site: LoadedSite, name: str = FETCHING) -> Iterator[None]:
    """One at a time on this machine. It waits by sleeping: the hosts of a deploy share one thread."""
    state(site).mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(state(site) / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _taken(lock):
            time.sleep(0.1)
        yield
    finally:
        os.close(lock)
