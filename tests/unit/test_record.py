"""A laptop's copy of the record: what it takes in, what it refuses, what waits for the control host."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup import collected, fetched, record
from backup.entry import Entry, render
from backup.ledger import LEDGER_AT_MOST, LedgerError, append, lines
from backup.reach import Reach, Unreachable, state
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from tests.unit.ledgers import at, entry, hours

SETS = [("release-1", "release")]
LEDGER, OWN = "release-1/release.jsonl", "release-1/release.control.jsonl"
HOST = {"plan": "p", "region": "ams"}


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The control host's folder, with a backup and a check."""
    folder = tmp_path / "theirs"
    append(folder / LEDGER, entry(0))
    reported = lines(folder / LEDGER)
    (folder / LEDGER).unlink()
    collected.collect(folder, "release-1", "release", reported, at(1))
    collected.note(folder, check(2))
    return folder


@pytest.fixture
def mine(tmp_path: Path, theirs: Path) -> Path:
    """A laptop's, fetched."""
    assert fetched.take(tmp_path / "mine", theirs, SETS) == []
    return tmp_path / "mine"


def check(hour: float) -> Entry:
    return entry(hour, kind="check", snapshot="", files=0, bytes=0, store="vault", part=(1, 30))


def site(tmp_path: Path, *, control: bool = True, on_it: bool = False) -> LoadedSite:
    hosts = {"release-1": HOST | {"role": "release"}, "vault-1": HOST | {"role": "vault", "dns": ["v.example.org"]}}
    if control:
        hosts["watch-1"] = HOST | {"role": "control"}
    fleet = Fleet.model_validate(
        {"site": {"name": "s", "domain": "example.org", "files": str(tmp_path)}, "hosts": hosts}
    )
    return LoadedSite(tmp_path / "s.toml", fleet, tmp_path / "control" if on_it else None)


def whole(folder: Path) -> collected.Known:
    return collected.known(folder, "release-1", "release", whole=True)


def test_what_the_control_host_has_is_taken_in_as_it_grows(mine: Path, theirs: Path) -> None:
    assert whole(mine) == whole(theirs)
    append(theirs / LEDGER, entry(3))
    collected.note(theirs, check(4))
    (theirs / "release-1/release.rejected.jsonl").write_text('{"why": "history was rewritten", "lines": []}\n')
    assert fetched.take(mine, theirs, SETS) == []
    assert whole(mine) == whole(theirs)
    assert whole(mine).disputed == "history was rewritten"
    (theirs / "release-1/release.rejected.jsonl").unlink()
    fetched.take(mine, theirs, SETS)
    assert whole(mine).disputed == ""


@pytest.mark.parametrize("name", [LEDGER, OWN])
@pytest.mark.parametrize("how", ["rewritten", "shorter", "gone"])
def test_a_record_that_does_not_continue_the_last_one_is_disputed_and_both_are_kept(
    mine: Path, theirs: Path, name: str, how: str
) -> None:
    before = (mine / name).read_bytes()
    *kept, last = (theirs / name).read_bytes().splitlines(keepends=True)
    forged = {"rewritten": [*kept, last.replace(b"ok", b"no")], "shorter": kept, "gone": []}[how]
    (theirs / name).write_bytes(b"".join(forged))
    [told] = fetched.take(mine, theirs, SETS)
    other = mine / name.replace(".jsonl", ".other.jsonl")
    assert (mine / name).read_bytes() == before
    assert other.read_bytes() == b"".join(forged)
    assert str(other) in told
    assert told in whole(mine).disputed
    (mine / name).write_bytes(b"".join(forged))
    other.unlink()
    assert fetched.take(mine, theirs, SETS) == []


def test_a_backup_of_the_record_may_lag_behind_and_not_contradict(mine: Path, theirs: Path, tmp_path: Path) -> None:
    backed_up = tmp_path / "backed-up"
    shutil.copytree(theirs, backed_up)
    append(theirs / LEDGER, entry(3))
    fetched.take(mine, theirs, SETS)
    newest = whole(mine)
    assert fetched.take(mine, backed_up, SETS, older=True) == []
    assert whole(mine) == newest
    (backed_up / LEDGER).write_bytes(render(entry(7)) + b"\n")
    assert len(fetched.take(mine, backed_up, SETS, older=True)) == 1


def made_again(mine: Path, theirs: Path) -> None:
    """The control host comes back from a backup before the check here, and goes on; the laptop sees it."""
    first, _ = (theirs / OWN).read_bytes().splitlines(keepends=True)
    (theirs / OWN).write_bytes(first)
    collected.note(theirs, check(9))
    assert len(fetched.take(mine, theirs, SETS)) == 1


def test_a_control_host_that_was_made_again_is_gone_by_and_given_what_it_lacks(mine: Path, theirs: Path) -> None:
    made_again(mine, theirs)
    [lacks] = fetched.settle(mine, theirs, "release-1", "release", dry=True) or []
    assert (lacks.kind, lacks.start) == ("check", at(2))
    assert whole(mine).disputed
    fetched.settle(mine, theirs, "release-1", "release", dry=False)
    assert whole(mine).disputed == ""
    assert (mine / OWN).read_bytes() == (theirs / OWN).read_bytes()
    [(path, [waiting])] = collected.postponed(mine)
    collected.note_once(theirs, waiting)
    path.unlink()
    assert fetched.take(mine, theirs, SETS) == []
    assert [one.start for one in whole(mine).control if one.kind == "check"] == [at(9), at(2)]
    assert fetched.settle(mine, theirs, "release-1", "release", dry=False) is None


def test_a_record_that_was_away_and_is_back_is_settled_and_lacks_nothing(mine: Path, theirs: Path) -> None:
    kept = {name: (theirs / name).read_bytes() for name in (LEDGER, OWN)}
    for name in kept:
        (theirs / name).unlink()
    assert len(fetched.take(mine, theirs, SETS)) == 2
    for name, content in kept.items():
        (theirs / name).write_bytes(content)
    fetched.take(mine, theirs, SETS)
    assert whole(mine).disputed
    assert fetched.settle(mine, theirs, "release-1", "release", dry=False) == []
    assert whole(mine).disputed == ""


def test_a_host_that_tells_another_history_is_not_settled(mine: Path, theirs: Path) -> None:
    (theirs / LEDGER).write_bytes(render(entry(7)) + b"\n")
    fetched.take(mine, theirs, SETS)
    with pytest.raises(LedgerError, match="is not what it was before"):
        fetched.settle(mine, theirs, "release-1", "release", dry=False)
    assert whole(mine).disputed


def test_a_past_that_was_made_up_is_not_settled(mine: Path, theirs: Path) -> None:
    first, _ = (theirs / OWN).read_bytes().splitlines(keepends=True)
    (theirs / OWN).write_bytes(first)
    collected.note(theirs, check(1.5))
    fetched.take(mine, theirs, SETS)
    with pytest.raises(LedgerError, match="tells of check at"):
        fetched.settle(mine, theirs, "release-1", "release", dry=False)
    assert whole(mine).disputed


def test_a_record_that_is_no_chain_is_not_settled(mine: Path, theirs: Path) -> None:
    made_again(mine, theirs)
    other = mine / OWN.replace(".jsonl", ".other.jsonl")
    other.write_bytes(other.read_bytes().replace(b'"ok"', b'"no"'))
    with pytest.raises(LedgerError):
        fetched.settle(mine, theirs, "release-1", "release", dry=False)
    assert whole(mine).disputed


def test_half_a_line_that_is_being_written_is_not_taken_for_a_line(mine: Path, theirs: Path) -> None:
    with (theirs / OWN).open("ab") as out:
        out.write(b'{"half')
    assert fetched.take(mine, theirs, SETS) == []
    assert whole(mine).disputed == ""


def folder_there(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def pipe_there(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link_there(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/passwd")


def too_long_there(path: Path) -> None:
    with path.open("ab") as out:
        out.truncate(LEDGER_AT_MOST + 1)


REJECTED = LEDGER.replace(".jsonl", ".rejected.jsonl")


@pytest.mark.parametrize("name", [LEDGER, OWN, REJECTED, "release-1/heard"])
@pytest.mark.parametrize("put", [folder_there, pipe_there, link_there, too_long_there])
def test_what_an_intruder_on_the_control_host_puts_in_place_of_a_file_stops_no_laptop(
    mine: Path, theirs: Path, name: str, put: Callable[[Path], None]
) -> None:
    before = whole(mine)
    put(theirs / name)
    told = fetched.take(mine, theirs, SETS)
    assert len(told) == (name in (LEDGER, OWN))
    assert whole(mine).ledger == before.ledger
    assert whole(mine).control == before.control
    assert bool(whole(mine).disputed) == bool(told)
    with suppress(LedgerError):
        fetched.settle(mine, theirs, "release-1", "release", dry=True)


@pytest.mark.parametrize("said", [b"nonsense\n", b"\xff\n", b"2026-11-25T12:00:00\n", b"\n", b""])
def test_a_time_that_is_none_is_that_a_host_never_answered(mine: Path, theirs: Path, said: bytes) -> None:
    (theirs / "release-1/heard").write_bytes(said)
    assert fetched.take(mine, theirs, SETS) == []
    assert whole(mine).heard is None


@pytest.mark.parametrize("said", [b"nonsense\n", b"\xff\n", b"{}\n", b"3\n", b'"why"\n', b"[" * 100_000 + b"\n"])
def test_a_dispute_that_cannot_be_read_is_one_all_the_same(mine: Path, theirs: Path, said: bytes) -> None:
    (theirs / REJECTED).write_bytes(said)
    assert fetched.take(mine, theirs, SETS) == []
    assert "cannot be read" in whole(mine).disputed


def test_what_waits_for_the_control_host_counts_at_once(mine: Path) -> None:
    gone = entry(5, kind="retain", snapshot="", store="vault", ids=("a",))
    collected.postpone(mine, gone)
    assert [one.kind for one in whole(mine).control] == ["collect", "check", "retain"]
    [(path, [waiting])] = collected.postponed(mine)
    assert (waiting.kind, waiting.ids, path.parent.name) == ("retain", ("a",), "release-1")


def test_the_record_is_here_or_with_the_control_host(tmp_path: Path) -> None:
    assert not record.is_copy(site(tmp_path, control=False))
    assert not record.is_copy(site(tmp_path, on_it=True))
    laptop = site(tmp_path)
    assert record.is_copy(laptop)
    assert record.folder(laptop) == tmp_path / "ledgers"
    (tmp_path / "ledgers/.meanwhile").mkdir(parents=True)
    assert record.folder(laptop) == tmp_path / "ledgers/.meanwhile"
    assert record.folder(site(tmp_path, control=False)) == tmp_path / "ledgers"


def test_an_admins_entry_is_written_once_however_often_it_is_handed_over(tmp_path: Path) -> None:
    here = site(tmp_path, control=False)
    for _ in range(2):
        record.accept(here, render(check(2)))
    record.accept(here, render(check(2)) + b"\n" + render(check(3)))
    assert [one.start for one in whole(tmp_path / "ledgers").control] == [at(2), at(3)]


def test_what_is_dated_ahead_is_refused_and_clocks_may_differ_a_little(tmp_path: Path) -> None:
    """It would hide for as long that nothing came since."""
    now = datetime.now(UTC)
    here = site(tmp_path, control=False)
    for ahead in (replace(check(0), start=now + hours(1), end=None), replace(check(0), start=now, end=now + hours(1))):
        with pytest.raises(InputError, match=r"is yet to come[^!]*timedatectl"):
            record.accept(here, render(check(2)) + b"\n" + render(ahead))
        assert [one.start for one in whole(tmp_path / "ledgers").control] == [at(2)]
    record.accept(here, render(replace(check(0), start=now + hours(0.1), end=None)))
    assert len(whole(tmp_path / "ledgers").control) == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"\n", "is not JSON"),
        (b"{}", "lacks"),
        (render(check(1)) + b"\n" + render(entry(0)), "'backup' is not written by admins"),
        (render(check(1)) + b"\n\n" + render(check(2)), "is not JSON"),
        (render(entry(0)), "'backup' is not written by admins"),
        (render(entry(0, kind="collect", upto=1, head="x")), "'collect' is not written by admins"),
        (render(entry(0, kind="check", plan="../../x")), "is no data set"),
        (render(entry(0, kind="check", host="/etc")), "is no data set"),
        (render(entry(0, kind="check", host="web-9")), "is no data set"),
    ],
)
def test_what_no_admin_writes_is_refused(tmp_path: Path, line: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        record.accept(site(tmp_path, control=False), line)
    assert not list(tmp_path.glob("ledgers/**/*.jsonl"))


@pytest.fixture
def way(tmp_path: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch) -> Reach:
    """From a laptop to a control host that is this machine: ssh and sudo do here what they are to do there."""
    for name, script in (("ssh", 'while [ "$1" != watch-1 ]; do shift; done; shift; exec $*'), ("sudo", 'shift; "$@"')):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(record, "LEDGERS", theirs)
    return Reach(site(tmp_path), tmp_path / "ssh_config")


def test_of_the_control_host_a_laptop_fetches_what_it_has_a_use_for(way: Reach, theirs: Path) -> None:
    for name in ("release-1/large", "web-9/web.jsonl", "release-1/deep/er", ".fetched/release-1/release.jsonl"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).touch()
    (theirs / REJECTED).touch()
    fetched = record._rsync(way)
    assert {str(path.relative_to(fetched)) for path in fetched.rglob("*") if path.is_file()} == {
        LEDGER,
        OWN,
        REJECTED,
        "release-1/heard",
    }
    (theirs / REJECTED).unlink()
    append(theirs / LEDGER, entry(3))
    record._rsync(way)
    assert not (fetched / REJECTED).exists()
    assert (fetched / LEDGER).read_bytes() == (theirs / LEDGER).read_bytes()


def test_a_control_host_cannot_fill_the_disk_of_a_laptop(
    way: Reach, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup.reach.LEDGER_AT_MOST", 100_000)
    with (theirs / LEDGER).open("ab") as out:
        out.write(os.urandom(1_000_000))
    with pytest.raises(Unreachable, match=r"^the control host: "):
        record._rsync(way)
    there = state(way.site)
    assert sum(path.stat().st_size for path in there.rglob("*")) < 200_000
