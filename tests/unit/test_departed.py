"""What those who have left know still: kept when they are left out, struck when a value is another one."""

from datetime import date
from pathlib import Path

import pytest

from inventories.departed import Departed, known, note, noted, read, strike, struck
from inventories.errors import InputError
from inventories.secrets import CONTROL_KEY

FIRST, LATER = date(2026, 11, 28), date(2026, 12, 3)


def test_who_is_left_out_in_two_steps_left_on_the_first_day() -> None:
    people = noted(noted({}, {"bob": ["b"]}, FIRST), {"bob": ["a", "b"]}, LATER)
    assert people == {"bob": Departed(left=FIRST, knows=("a", "b"))}


def test_who_comes_and_goes_once_more_left_on_the_later_day() -> None:
    people = struck(noted({}, {"bob": ["a"]}, FIRST), {"a"}, (), FIRST)
    assert people == {"bob": Departed(left=FIRST, replaced={"a": FIRST})}
    assert noted(people, {"bob": ["a"]}, LATER) == {"bob": Departed(left=LATER, knows=("a",))}


def test_a_replaced_secret_is_struck_of_all_who_knew_it() -> None:
    people = noted({}, {"bob": ["a", "b"], "carol": ["a"]}, FIRST)
    after = struck(people, {"a", "z"}, (), LATER)
    assert after["bob"] == Departed(left=FIRST, knows=("b",), replaced={"a": LATER})
    assert after["carol"] == Departed(left=FIRST, knows=(), replaced={"a": LATER})
    assert known(after) == ("b",)


def test_what_the_control_hosts_key_opens_is_not_struck_of_who_knows_that_key() -> None:
    people = noted({}, {"bob": [CONTROL_KEY, "login"], "carol": ["login"]}, FIRST)
    after = struck(people, {"login"}, {"login"}, LATER)
    assert (after["bob"].knows, after["carol"].knows) == ((CONTROL_KEY, "login"), ())
    both = struck(people, {CONTROL_KEY, "login"}, {"login"}, LATER)
    assert both["bob"].knows == ("login",), "the new value was encrypted while the key was the old one"
    assert struck(both, {"login"}, {"login"}, LATER)["bob"].knows == ()


def test_the_file_says_what_was_written(tmp_path: Path) -> None:
    note(tmp_path, {"bob": ["b", "a"], "control": ["b"], "carol": []})
    strike(tmp_path / "secrets.age", ["b"])
    people = read(tmp_path)
    assert people["bob"].knows == ("a",)
    assert people["control"].knows == ()
    assert [*people["bob"].replaced] == [*people["control"].replaced] == ["b"]


def test_nothing_is_written_where_nothing_is_to_be_said(tmp_path: Path) -> None:
    note(tmp_path, {"bob": []})
    strike(tmp_path / "secrets.age", ["a"])
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[bob]\nleft = 2026-11-28\n<<<<<<< HEAD\n", "line 3 is where a merge was not finished"),
        ("[bob]\nleft = 2026-11-28\nknows = [\n", "is cut off at line 3, in what began on line 1"),
        ("[bob]\nknows = []\n", "bob.left: Field required"),
        ("bob = 1\n", "bob: "),
    ],
)
def test_a_spoiled_file_is_named_with_its_line_and_not_written_over(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "departed.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        note(tmp_path, {"bob": ["a"]})
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert path.read_text() == text
