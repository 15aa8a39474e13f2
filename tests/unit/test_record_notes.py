"""What a laptop notes is with the control host in the end, once, whatever breaks off, and it knows it all along.

The control host is played: its words are those of the commands that a laptop gives it.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from backup import collected, record
from backup.entry import Entry, render
from backup.ledger import append, lines
from backup.reach import Reach, Unreachable, state
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from tests.unit.ledgers import at, control, entry
from tests.unit.test_record import site

OWN = "release-1/release.control.jsonl"


class ControlHost:
    """Keeps the record, and answers as `backup.reach.answer` does."""

    def __init__(self, folder: Path) -> None:
        self.site = site(folder, control=False)
        self.asked: list[str] = []
        self.down: set[str] = set()
        """What it does not do."""
        self.meanwhile: Callable[[], None] = lambda: None
        """Is done on the laptop when something was handed over."""

    def __call__(self, words: Sequence[str], _: str, __: float, stdin: bytes = b"") -> CompletedProcess[bytes]:
        what = words[0] if words[0] == "rsync" else words[-1]
        if what in self.down:
            raise Unreachable("the control host: no route")
        self.asked.append(what)
        if what == "note":
            try:
                record.accept(self.site, stdin)
            except InputError as error:
                raise Unreachable(f"the control host: {error}") from None
            self.meanwhile()
        elif what == "rsync":
            shutil.rmtree(words[-1])
            shutil.copytree(state(self.site), words[-1])
        return CompletedProcess(words, 0, b"", b"")

    def checks(self) -> list[float]:
        return hours(collected.known(state(self.site), "release-1", "release", whole=True))


class Way(Reach):
    """No store can be used."""

    @contextmanager
    def stores(self, *_: object) -> Iterator[dict[str, object]]:  # type: ignore[override]
        yield {}


@contextmanager
def reach(laptop: LoadedSite) -> Iterator[Reach]:
    yield Way(laptop, Path("ssh_config"))


def hours(found: collected.Known) -> list[float]:
    """When the checks of it were made."""
    assert not found.disputed
    return [(one.start - at(0)).total_seconds() / 3600 for one in found.control if one.kind == "check"]


def check(hour: float, **more: str) -> Entry:
    return control(hour, "check", part=(1, 30), **more)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControlHost:
    """It has one backup, and one check."""
    found = ControlHost(tmp_path / "there")
    append(tmp_path / "host.jsonl", entry(0))
    collected.collect(state(found.site), "release-1", "release", lines(tmp_path / "host.jsonl"), at(1))
    collected.note(state(found.site), check(2))
    monkeypatch.setattr(record, "answer", found)
    monkeypatch.setattr(record, "reach", reach)
    return found


@pytest.fixture
def laptop(tmp_path: Path, there: ControlHost) -> LoadedSite:
    """It has fetched the record."""
    found = site(tmp_path / "laptop")
    assert fetch(found) == []
    return found


def fetch(laptop: LoadedSite) -> list[str]:
    """Returns what was said."""
    said: list[str] = []
    record.fetch(Way(laptop, Path("ssh_config")), said.append)
    return said


def hand_over(laptop: LoadedSite) -> list[str]:
    said: list[str] = []
    record.hand_over(laptop, said.append)
    return said


def known(laptop: LoadedSite) -> list[float]:
    return hours(collected.known(record.folder(laptop), "release-1", "release", whole=True))


def waiting(laptop: LoadedSite) -> list[Path]:
    return list(state(laptop).glob("**/*.pending.jsonl"))


def test_what_was_handed_over_is_known_at_once_and_waits_no_more(laptop: LoadedSite, there: ControlHost) -> None:
    record.note(laptop, check(3))
    assert known(laptop) == [2, 3]
    assert hand_over(laptop) == []
    assert known(laptop) == there.checks() == [2, 3]
    assert not waiting(laptop)
    there.asked.clear()
    assert hand_over(laptop) == there.asked == []


def test_what_is_noted_while_other_notes_are_handed_over_is_kept(laptop: LoadedSite, there: ControlHost) -> None:
    for give, hour in ((fetch, 3), (hand_over, 5)):
        there.meanwhile = lambda: None
        record.note(laptop, check(hour))
        there.meanwhile = partial(record.note, laptop, check(hour + 1))
        assert give(laptop) == []
        assert known(laptop)[-2:] == [hour, hour + 1]
    there.meanwhile = lambda: None
    fetch(laptop)
    assert known(laptop) == there.checks() == [2, 3, 4, 5, 6]
    assert not waiting(laptop)


def test_nothing_is_lost_of_what_many_note_at_once(laptop: LoadedSite, there: ControlHost) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            pool.submit(record.note, laptop, check(3 + number / 8))
            if not number % 5:
                pool.submit(fetch, laptop)
    fetch(laptop)
    assert sorted(known(laptop)) == sorted(there.checks()) == [2, *(3 + number / 8 for number in range(40))]
    assert not waiting(laptop)


def test_the_first_look_after_the_control_host_is_back_knows_what_was_noted(
    laptop: LoadedSite, there: ControlHost
) -> None:
    record.note(laptop, check(3))
    there.down = {"collect", "note", "rsync"}
    assert "going on without the control host" in fetch(laptop)[0]
    record.note(laptop, check(4))
    assert fetch(laptop)
    assert known(laptop) == [2, 3, 4]
    assert hand_over(laptop) == []
    there.down = set()
    assert fetch(laptop) == []
    assert known(laptop) == there.checks() == [2, 3, 4]
    assert record.folder(laptop) == state(laptop)
    assert not waiting(laptop)


def test_what_cannot_be_handed_over_keeps_no_laptop_apart(laptop: LoadedSite, there: ControlHost) -> None:
    there.down = {"collect", "note", "rsync"}
    fetch(laptop)
    record.note(laptop, check(3))
    there.down = {"note"}
    collected.note(state(there.site), check(4))
    [told] = fetch(laptop)
    assert record.KEPT in told
    assert record.folder(laptop) == state(laptop)
    assert known(laptop) == [2, 4, 3]
    there.down = set()
    assert fetch(laptop) == []
    assert known(laptop) == there.checks() == [2, 4, 3]


def test_what_a_control_host_was_given_before_it_was_lost_is_given_again(
    laptop: LoadedSite, there: ControlHost
) -> None:
    own = state(there.site) / OWN
    backed_up = lines(own)[0] + b"\n"
    record.note(laptop, check(1.5))
    there.down = {"rsync"}
    assert record.KEPT in hand_over(laptop)[0]
    assert there.checks() == [2, 1.5]
    own.write_bytes(backed_up)
    there.down = set()
    [told] = fetch(laptop)
    assert "does not continue what it had before" in told
    said: list[str] = []
    record.settle(Way(laptop, Path("ssh_config")), dry=False, say=said.append)
    assert "lacks 1 of the entries here" in said[0]
    assert sorted(known(laptop)) == sorted(there.checks()) == [1.5, 2]
    assert not waiting(laptop)


def test_what_concerns_a_host_that_is_no_more_holds_nothing_else_up(laptop: LoadedSite, there: ControlHost) -> None:
    there.down = {"collect", "note", "rsync"}
    fetch(laptop)
    for noted in (check(3, host="web-9", plan="web"), check(4)):
        record.note(laptop, noted)
    there.down = set()
    assert fetch(laptop) == []
    assert known(laptop) == there.checks() == [2, 4]
    assert [path.name for path in waiting(laptop)] == ["web.pending.jsonl"]
    assert record.folder(laptop) == state(laptop)


def test_a_control_host_that_knows_not_all_hosts_yet_takes_what_it_can(there: ControlHost) -> None:
    new = render(check(3, host="web-9", plan="web"))
    with pytest.raises(InputError, match="web-9:web is no data set"):
        record.accept(there.site, new + b"\n" + render(check(4)))
    assert there.checks() == [2, 4]
    assert not (state(there.site) / "web-9").exists()


def test_what_waits_is_told_once(laptop: LoadedSite) -> None:
    """Written down twice by a run that was broken off, and in the record."""
    for hour in (2, 3, 3):
        collected.postpone(state(laptop), check(hour))
    assert known(laptop) == [2, 3]
    collected.drop_noted(state(laptop), "release-1", "release")
    [(_, left)] = collected.postponed(state(laptop))
    assert [(one.seq, one.start) for one in left] == [(1, at(3))]
