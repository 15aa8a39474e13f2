"""An admin vouches for what is amiss, named so that nothing else can be meant, and then it is no finding any more."""

from dataclasses import replace

import pytest

from backup.accepting import amiss, meant, removable, where
from backup.data_set import DataSet, Kind
from backup.entry import Entry
from backup.retention import Keep, retention
from inventories.errors import InputError
from tests.unit.ledgers import at, control, identity, snapshot
from tests.unit.test_status import DAY, NOW, copies, good, numbered, snapshots, told

LATER = 40 * DAY + 1
ROGUE = snapshot(LATER - 30 * DAY, id=f"{7:064x}", original=f"{7:064x}")


def known(data_set: DataSet) -> DataSet:
    return replace(data_set, ledger=numbered(data_set.ledger))


def accepted(data_set: DataSet, *ids: str) -> DataSet:
    return replace(data_set, control=[*data_set.control, control(LATER, "accept", store="", ids=ids)])


@pytest.mark.parametrize(
    ("data_set", "found"),
    [
        (good(vault=snapshots(3 * DAY, 4 * DAY)), {3 * DAY: Kind.GONE, 4 * DAY: Kind.GONE}),
        (good(copy=copies()[1:]), {0: Kind.GONE}),
        (good(vault=[*snapshots(5 * DAY), snapshot(5 * DAY, time=at(3 * DAY))]), {5 * DAY: Kind.BACK_DATED}),
    ],
)
def test_what_is_amiss_can_be_accepted_and_is_no_finding_any_more(data_set: DataSet, found: dict[float, Kind]) -> None:
    wanted = {identity(hour): kind for hour, kind in found.items()}
    assert amiss(known(data_set), at(NOW)) == wanted
    assert set(told(data_set)) == {*wanted.values()}
    after = accepted(data_set, *wanted)
    assert told(after) == []
    assert amiss(known(after), at(NOW)) == {}


def vouched(data_set: DataSet, *ids: str) -> DataSet:
    """As `mainstay backup accept` does it."""
    entries = [
        control(LATER, "accept", store=store, ids=tuple(those))
        for store, those in where(known(data_set), ids, at(NOW)).items()
    ]
    return replace(data_set, control=[*data_set.control, *entries])


def test_what_is_accepted_as_gone_from_one_store_must_stay_in_the_other() -> None:
    """It may be the last there is."""
    one = identity(3 * DAY)
    without = [snapshot for snapshot in copies() if snapshot.original != one]
    vault_lost, copy_lost = good(vault=snapshots(3 * DAY)), good(copy=without)
    nowhere = good(vault=snapshots(3 * DAY), copy=without)
    for lost in (vault_lost, copy_lost):
        after = vouched(lost, one)
        assert told(after) == []
        then = replace(nowhere, control=after.control)
        assert told(then) == [Kind.GONE]
        assert told(vouched(then, one)) == []
    assert where(known(nowhere), [one], at(NOW)) == {"": [one]}
    assert told(vouched(nowhere, one)) == []
    strange = good(vault=[*snapshots(), ROGUE])
    assert where(known(strange), [ROGUE.id], at(NOW)) == {"": [ROGUE.id]}


def test_a_snapshot_that_no_ledger_knows_can_be_accepted() -> None:
    strange = good(vault=[*snapshots(), ROGUE])
    assert amiss(known(strange), at(NOW)) == {ROGUE.id: Kind.BACK_DATED}
    assert told(accepted(strange, ROGUE.id)) == []


def test_what_a_copy_that_failed_brought_over_and_is_gone_can_be_accepted() -> None:
    """Status tells it: a run that failed with others had noted it."""
    done = [replace(one, outcome="failed") if one.kind == "copy" else one for one in good().control]
    lost = good(copy=copies()[1:], control=done)
    assert told(lost) == [Kind.GONE]
    assert amiss(known(lost), at(NOW)) == {identity(0): Kind.GONE}


def test_what_stops_retention_of_the_second_copy_can_be_accepted() -> None:
    strange = replace(good(), copy=[*copies(), replace(ROGUE, time=at(3 * DAY))])
    strange = accepted(replace(strange, control=[*strange.control, control(LATER, "collect", store="", upto=999)]))
    assert amiss(known(strange), at(NOW)) == {ROGUE.id: Kind.BACK_DATED}
    done = [*strange.control, control(LATER, "check", store="copy")]
    listed = strange.copy or []

    def refused(*more: Entry) -> tuple[str, ...]:
        keep = Keep(last=100)
        ledger = known(strange).ledger
        return retention("release-1", "release", keep, ledger, [*done, *more], listed, at(NOW), store="copy").refused

    assert "is back-dated" in refused()[0]
    assert refused(control(LATER, "accept", store="", ids=(ROGUE.id,))) == ()


def test_where_all_is_well_nothing_can_be_accepted() -> None:
    assert amiss(known(good()), at(NOW)) == {}
    with pytest.raises(InputError, match=r"nothing is amiss with such a snapshot\n  all are as they should be"):
        meant("release-1:release", ["0" * 64], {})


ONE, TWO = "0123456789" + "a" * 54, "01234567" + "b" * 56
FOUND = {ONE: Kind.GONE, TWO: Kind.BACK_DATED}


def test_ids_are_whole_or_short_and_named_once() -> None:
    assert meant("a:b", [ONE, TWO[:9], ONE[:10]], FOUND) == [ONE, TWO]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("0123456", "is less than eight digits"),
        ("", "is less than eight digits"),
        ("01234567", f"may be each of {ONE}, {TWO}"),
        ("fedcba98", "nothing is amiss with such a snapshot"),
    ],
)
def test_what_is_not_clear_is_refused_and_told_what_there_is(given: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as raised:
        meant("a:b", [ONE, given], FOUND)
    assert "there are: 01234567 (snapshot gone), 01234567 (back-dated)" in str(raised.value)


BAD, GOOD = "0123456789" + "c" * 54, "0123abcd" + "d" * 56
COPIED = "f" * 64
THERE = {
    "the vault": [snapshot(1, id=GOOD, original=GOOD), snapshot(2, id=BAD, original=BAD)],
    "the second copy": [snapshot(1, id="e" * 64, original=GOOD), snapshot(2, id=COPIED, original=BAD)],
}


def test_a_snapshot_is_removed_wherever_it_is_by_either_of_its_ids() -> None:
    for name in (BAD, BAD[:8], COPIED, COPIED[:10]):
        found = removable("a:b", [name, name], THERE)
        assert found.recorded == {BAD}
        assert found.listed == {"the vault": [BAD], "the second copy": [COPIED]}


def test_with_what_an_intruder_made_to_look_like_a_copy_no_good_one_is_removed() -> None:
    """He can say of each of his that it was copied from a good one: the admin names his, by what status tells."""
    good_one, copy = snapshot(0), snapshot(0, id="c" * 64, original=identity(0))
    planted = snapshot(1, id="e" * 64, original=identity(0))
    other = snapshot(2)
    there = {"the vault": [good_one, planted, other], "the second copy": [copy, snapshot(2, id="d" * 64)]}
    found = removable("a:b", ["e" * 8], there)
    assert (found.listed, found.recorded) == ({"the vault": ["e" * 64], "the second copy": []}, {"e" * 64})
    found = removable("a:b", [identity(0)], there)
    assert found.listed == {"the vault": [good_one.id], "the second copy": [copy.id]}
    assert found.recorded == {good_one.id}


def test_what_was_repaired_is_removed_and_its_whole_copy_stays() -> None:
    """`restic repair snapshots` makes another one of it, without what was lost."""
    repaired = snapshot(0, id="e" * 64, original=identity(0), tree="f" * 64)
    there = {"the vault": [repaired, snapshot(2)], "the second copy": [snapshot(0, id="c" * 64, original=identity(0))]}
    found = removable("a:b", ["e" * 8], there)
    assert found.listed == {"the vault": ["e" * 64], "the second copy": []}
    assert found.recorded == {identity(0)}
    with pytest.raises(InputError, match=r"may be each of c+, e+"):
        removable("a:b", [identity(0)], there)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["0123456"], "is less than eight digits"),
        (["00000000"], "no such snapshot"),
        ([BAD[:8], GOOD[:8]], "these are all that the vault has"),
    ],
)
def test_what_is_not_clear_or_all_there_is_is_not_removed(given: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        removable("a:b", given, THERE)
