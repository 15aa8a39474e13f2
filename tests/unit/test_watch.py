"""Whatever goes wrong with one data set, or with the look itself: people are told, and the others are looked at."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backup import collected, control, custody, mirror, remembered, watch
from backup.custody import DataSet
from backup.data_set import DataSet as Looked
from backup.data_set import Finding, Kind
from backup.entry import render
from backup.ledger import append
from backup.notify import Channels, tell
from backup.reach import Reach
from backup.remembered import recall
from backup.status import Row, status
from backup.store import VAULT, Store
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from tests.post_office import Server, serving
from tests.unit.ledgers import at, entry, identity, snapshot
from tests.unit.ledgers import control as done
from tests.unit.test_status import DAY, DAYS, NOW, copies, good, good_control, good_ledger, look, snapshots
from tests.waiting import until

ONE, TWO = DataSet("release-1", "release"), DataSet("web-1", "web")
HOST = {"plan": "p", "region": "ams"}
FULL = OSError(28, "No space left on device")


@pytest.fixture
def site(tmp_path: Path) -> LoadedSite:
    """A site without a control host: the record lies on this machine."""
    hosts = {
        "release-1": HOST | {"role": "release"},
        "web-1": HOST | {"role": "web"},
        "vault-1": HOST | {"role": "vault", "dns": ["v.example.org"]},
    }
    files = {"name": "s", "domain": "example.org", "files": str(tmp_path)}
    return LoadedSite(tmp_path / "s.toml", Fleet.model_validate({"site": files, "hosts": hosts}))


@pytest.fixture
def way(site: LoadedSite) -> Reach:
    return Reach(site, site.files / "ssh_config")


@pytest.fixture
def ledgers(site: LoadedSite) -> Path:
    return site.files / "ledgers"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each host tells of one backup."""

    def answer(way: Reach, data_set: DataSet, after: int) -> list[bytes]:
        return [render(entry(0, host=data_set.host, plan=data_set.plan, seq=1))]

    monkeypatch.setattr(control, "ledger_lines", answer)


def damage(ledgers: Path) -> None:
    own = ledgers / "release-1/release.control.jsonl"
    own.parent.mkdir(parents=True)
    own.write_text("half a line, mended with a line's end\n")


def fill(ledgers: Path) -> None:
    (ledgers / "release-1").mkdir(parents=True)
    (ledgers / "release-1/release.jsonl").mkdir()


@pytest.mark.parametrize(("harm", "why"), [(damage, "nothing can be added"), (fill, "Is a directory")])
@pytest.mark.usefixtures("answers")
def test_what_cannot_be_taken_in_is_told_and_the_others_are(
    way: Reach, ledgers: Path, harm: Callable[[Path], None], why: str
) -> None:
    harm(ledgers)
    said: list[str] = []
    failed = control.collect(way, [ONE, TWO], said.append)
    assert list(failed) == [ONE]
    assert why in failed[ONE]
    assert said == [f"{ONE}: what its host wrote down cannot be taken in: {failed[ONE]}"]
    assert len(collected.known(ledgers, "web-1", "web").ledger) == 1


def test_an_answer_that_was_not_taken_in_is_a_finding() -> None:
    [first, *more] = look(good(uncollected="[Errno 28] No space left on device")).findings
    assert (first.kind, more) == (Kind.DISPUTED, [])
    assert first.what == "what its host wrote down cannot be taken into the record: [Errno 28] No space left on device"


def test_a_data_set_whose_record_cannot_be_read_is_a_finding_and_the_others_are_looked_at(
    way: Reach, ledgers: Path
) -> None:
    append(ledgers / "web-1/web.jsonl", entry(0, host="web-1", plan="web"))
    (ledgers / "release-1").mkdir()
    (ledgers / "release-1/heard").write_text("yesterday")
    said: list[str] = []
    rows = status(control.look(way, {}, [ONE, TWO], said.append), datetime.now(UTC))
    assert [row.plan.data_set in row.unseen for row in rows] == [True, False]
    assert [one.kind for one in rows[0].findings] == [Kind.DISPUTED]
    assert "nothing else is known of it: Invalid isoformat string: 'yesterday'" in rows[0].findings[0].what
    assert said == ["release-1:release: cannot be looked at: Invalid isoformat string: 'yesterday'"]


@pytest.mark.parametrize(
    "error",
    [
        InputError("secrets.age", "backup_release_1_release", "no such secret", "make it: mainstay backup keys"),
        ValueError("year 0 is out of range"),
        FULL,
        KeyError("summary"),
    ],
)
def test_a_repository_that_cannot_be_listed_keeps_none_of_the_others_back(
    way: Reach, ledgers: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Empty:
        def readable(self) -> tuple[list[Any], list[str]]:
            return [], []

    def opened(store: Store, data_set: DataSet) -> Any:
        if data_set == ONE:
            raise error
        return Empty()

    monkeypatch.setattr(Store, "restic", opened)
    said: list[str] = []
    rows = status(control.look(way, {VAULT: vault(way.site)}, [ONE, TWO], said.append), at(0))
    assert [row.snapshots for row in rows] == [None, 0]
    assert [Kind.UNLISTED in [one.kind for one in row.findings] for row in rows] == [True, False]
    assert [line.startswith("release-1:release in the vault: ") for line in said] == [True]


def vault(site: LoadedSite) -> Store:
    return Store(site, VAULT, "rest:http://v", None, lambda: None)


def test_a_data_set_that_cannot_be_judged_is_a_finding_and_the_others_are_judged() -> None:
    evil = replace(entry(0), start=datetime.max.replace(tzinfo=UTC), end=None)
    rows = status([good(ledger=[replace(evil, seq=1)]), good(ledger=[])], at(NOW))
    assert [row.plan.data_set in row.unseen for row in rows] == [True, False]
    assert [one.kind for one in rows[0].findings] == [Kind.DISPUTED]
    assert "date value out of range" in rows[0].findings[0].what
    assert Kind.NEVER in [one.kind for one in rows[1].findings]


def test_a_full_disk_keeps_nobody_from_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        append(tmp_path / "release-1/release.jsonl", entry(number))
    monkeypatch.setattr(remembered, "replace", no_room)
    assert len(recall(tmp_path, "release-1", "release", at(40)).ledger) == 30


def no_room(*_: object) -> None:
    raise FULL


class Stage:
    """`watch` on a site of which only the look is played; what is told goes to a webhook."""

    def __init__(self, site: LoadedSite, server: Server, patch: pytest.MonkeyPatch) -> None:
        self.site, self.server, self.patch = site, server, patch
        self.said: list[str] = []
        patch.setattr(watch, "channels", lambda site: Channels(f"{server.url}/hook"))
        patch.setattr(watch, "_address", lambda site, secret: "")

    def watch(self, seen: list[Row] | Exception, places: watch.Places | None = None) -> bool:
        def survey(*_: object) -> list[Row]:
            if isinstance(seen, Exception):
                raise seen
            return seen

        self.patch.setattr(watch, "survey", survey)
        return watch.watch(self.site, places or watch.Places(), self.said.append)

    def told(self) -> list[tuple[list[str], list[str]]]:
        """What the webhook was told since it was last asked: what began, what ended."""

        def names(all_: list[dict[str, str]]) -> list[str]:
            return [f"{one['data_set']} {one['kind']}" for one in all_]

        found = [(names(message["began"]), names(message["ended"])) for message in self.server.messages()]
        self.server.got.clear()
        return found


@pytest.fixture
def stage(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with serving() as server:
        yield Stage(site, server, monkeypatch)


def row(*found: Finding) -> Row:
    return replace(look(good()), findings=found)


LATE = Finding(Kind.LATE, "release-1", "release", "the newest complete backup is of 2 days ago", "Run it.")


def test_a_look_that_fails_is_told_once_and_nothing_is_over_by_it(stage: Stage) -> None:
    assert stage.watch([row(LATE)])
    assert stage.told() == [(["release-1:release late"], [])]
    for _ in range(2):
        assert not stage.watch(RuntimeError("of a kind that nobody foresaw"))
    assert stage.told() == [(["release-1:control not to be listed"], [])]
    assert stage.said[-1] == "the look failed: RuntimeError: of a kind that nobody foresaw"
    assert "Traceback" in stage.said[0]
    assert stage.watch([row(LATE)])
    assert stage.told() == [([], ["release-1:control not to be listed"])]


def test_a_look_that_does_not_end_is_told_and_ends_nothing(stage: Stage) -> None:
    stage.watch([row(LATE)])
    stage.told()
    stage.patch.setattr(watch, "LOOK_S", 0.1)
    told: list[tuple[list[str], list[str]]] = []

    def survey(*_: object) -> list[Row]:
        """Takes until people were told."""
        told.extend(until("a message", stage.told))
        return [row(LATE)]

    stage.patch.setattr(watch, "survey", survey)
    assert watch.watch(stage.site, watch.Places(), stage.said.append)
    assert told == [(["release-1:control not to be listed"], [])]
    assert stage.told() == [([], ["release-1:control not to be listed"])]


def test_of_a_data_set_that_could_not_be_looked_at_nothing_is_over(stage: Stage) -> None:
    stage.watch([row(LATE)])
    dispute = replace(LATE, kind=Kind.DISPUTED)
    stage.watch([replace(row(dispute), unseen=("release-1:release",))])
    stage.watch([row()])
    assert stage.told() == [
        (["release-1:release late"], []),
        (["release-1:release ledger disputed"], []),
        ([], ["release-1:release late", "release-1:release ledger disputed"]),
    ]


def test_a_page_that_cannot_be_made_keeps_nobody_from_being_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise OverflowError("int too large to convert to float")

    monkeypatch.setattr("backup.page.write", broken)
    assert not stage.watch([row(LATE)], watch.Places(tmp_path))
    assert stage.said == [f"{tmp_path}: int too large to convert to float"]
    assert stage.told() == [(["release-1:release late"], [])]


@pytest.mark.parametrize("nothing", ["notes", "lock"])
def test_a_folder_that_cannot_be_written_to_keeps_nobody_from_being_told(
    site: LoadedSite, ledgers: Path, monkeypatch: pytest.MonkeyPatch, nothing: str
) -> None:
    """On a full disk what was told cannot be noted; on one that is read-only there is no lock either."""
    state = ledgers / "told.json"
    if nothing == "notes":
        monkeypatch.setattr("backup.notify.replace", no_room)
    else:
        ledgers.write_text("a file where the folder should be")
    with serving() as server:
        channels = Channels(f"{server.url}/hook", "ops@example.org", sendmail="/nowhere")
        problems = tell([LATE], channels, state, at(0))
        assert [message["began"][0]["kind"] for message in server.messages()] == ["late"]
    assert [problem.partition(":")[0] for problem in problems] == ["webhook", "mail"]
    assert "it cannot be noted" in problems[0]


def states() -> dict[str, Looked]:
    """Data sets in which something else is lost than in one before, though it is of the same kind."""
    damaged = done(NOW - 1, "check", part=(3, 20), outcome="damaged", error="pack abc")
    copy_too = replace(damaged, store="copy")
    own = good_control()
    return {
        "the vault is damaged": good(control=[*own, damaged]),
        "the vault is damaged, said otherwise": good(control=[*own, replace(damaged, error="pack abc, after 3 days")]),
        "so is the copy": good(control=[*own, damaged, copy_too]),
        "the copy alone": good(control=[*own, copy_too]),
        "all parts may be": good(control=[*own, copy_too, replace(copy_too, part=(1, 1))]),
        "one of all parts": good(control=[*own, replace(copy_too, part=(1, 1)), replace(copy_too, part=(4, 20))]),
        "in order": good(),
        "a snapshot is gone": good(vault=snapshots(5 * DAY)),
        "another is gone too": good(vault=snapshots(5 * DAY, 6 * DAY)),
        "one came back": good(vault=snapshots(6 * DAY)),
        "all came back": good(),
        "a stranger": good(vault=[*snapshots(), snapshot(3000)]),
        "another stranger": good(vault=[*snapshots(), snapshot(3000), snapshot(3001)]),
        "one in the copy": good(vault=[*snapshots(), snapshot(3000), snapshot(3001)], copy=[*copies(), snapshot(3002)]),
        "none any more": good(),
        "a clock is wrong": ahead(3000),
        "it still is": ahead(3000, 3001),
        "it is right": good(),
    }


def ahead(*by: float) -> Looked:
    """A data set of which backups were saved, and collected, while its host's clock was so many hours ahead."""
    dated = [entry(hour) for hour in by]
    collected_ = done(NOW - 0.1, "collect", upto=len(good_ledger()) + len(by), took=0)
    return good(
        ledger=[*good_ledger(), *dated],
        control=[*good_control(), collected_],
        vault=[*snapshots(), *map(snapshot, by)],
    )


def test_each_loss_is_told_once(stage: Stage) -> None:
    told = {}
    for name, data_set in states().items():
        assert stage.watch([look(data_set)])
        told[name] = [(len(began), len(ended)) for began, ended in stage.told()]
    assert told == {
        "the vault is damaged": [(1, 0)],
        "the vault is damaged, said otherwise": [],
        "so is the copy": [(1, 0)],
        "the copy alone": [(0, 1)],
        "all parts may be": [(1, 0)],
        "one of all parts": [],
        "in order": [(0, 1)],
        "a snapshot is gone": [(1, 0)],
        "another is gone too": [(1, 0)],
        "one came back": [],
        "all came back": [(0, 1)],
        "a stranger": [(1, 0)],
        "another stranger": [(1, 0)],
        "one in the copy": [(1, 0)],
        "none any more": [(0, 2)],
        "a clock is wrong": [(1, 0)],
        "it still is": [],
        "it is right": [(0, 1)],
    }


@pytest.mark.parametrize(
    ("lost", "unasked"),
    [
        (good(vault=snapshots(5 * DAY)), good(vault=None)),
        (good(vault=snapshots(5 * DAY), unreadable=[identity(5 * DAY)]), good(vault=None)),
        (good(vault=[*snapshots(), snapshot(3000)]), good(vault=None)),
        (good(vault=snapshots(*DAYS[2:])), good(vault=None)),
        (good(copy=copies()[:-1]), good(copy=None)),
        (good(copy=copies()[:-1], copy_unreadable=["c" * 64]), good(copy=None)),
        (good(copy=[*copies(), snapshot(3000)]), good(copy=None)),
        (good(copy=[], control=[one for one in good_control() if one.kind != "copy"]), good(copy=None)),
    ],
)
def test_what_was_wrong_in_a_store_is_not_over_by_its_not_answering(
    stage: Stage, lost: Looked, unasked: Looked
) -> None:
    stage.watch([look(lost)])
    [(began, ended)] = stage.told()
    assert (bool(began), ended) == (True, [])
    stage.watch([look(unasked)])
    [(unlisted, over)] = stage.told()
    assert (len(unlisted), over) == (1, [])
    stage.watch([look(lost)])
    assert stage.told() == [([], unlisted)]
    stage.watch([look(good())])
    [(begun, over)] = stage.told()
    assert (begun, sorted(over)) == ([], sorted(began))


def test_each_mirror_that_is_behind_is_told(stage: Stage, site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    at_control = replace(look(good()), plan=replace(look(good()).plan, host="control-1", name="control"))
    monkeypatch.setattr(custody, "control_host", lambda site: "control-1")
    monkeypatch.setattr(mirror, "declared", lambda site: {})
    for late in (["a since 2 days ago"], ["a since 3 days ago"], ["a since 3 days ago", "b since 2 days ago"]):
        monkeypatch.setattr(mirror, "behind", lambda *_, late=late: late)
        stage.watch(watch._with_own([at_control], [*watch._mirrors(site, at(0))]))
    assert stage.told() == [(["control-1:control mirror behind"], [])] * 2


def test_mirrors_that_cannot_be_looked_at_are_a_finding(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    at_control = replace(look(good()), plan=replace(look(good()).plan, host="control-1", name="control"))
    monkeypatch.setattr(custody, "control_host", lambda site: "control-1")
    monkeypatch.setattr(mirror, "FOLDER", site.files / "mirrors")
    monkeypatch.setattr(mirror, "declared", lambda site: {"a": "https://a"})
    other = look(good())
    [told, untouched] = watch._with_own([at_control, other], [*watch._mirrors(site, at(0))])
    assert [(one.kind, one.what) for one in told.findings] == [
        (Kind.MIRROR_BEHIND, "they cannot be looked at: StopIteration: ")
    ]
    assert untouched == other
