"""Lines of an envelope as they are typed from paper: whatever is wrong is found, and named by its line."""

import re
import string
from itertools import combinations

import pytest

from backup.envelope import key
from backup.envelope.lines import Name, Sheet, parse
from inventories.errors import InputError

KEY = bytes(range(16))
LETTER = Sheet(Name("PROD", "2026-11-28", "7GQZ4K", "LETTER"), key.letter_rows(bytes(range(160, 255))))
PLAIN = Sheet(Name("PROD", "2026-11-28", "7GQZ4K", "KEY"), key.rows(KEY, 1, 1)["KEY"])
SHARES = [Sheet(Name("PROD", "2026-11-28", "7GQZ4K", kind), rows) for kind, rows in sorted(key.rows(KEY, 2, 3).items())]
ALL = [LETTER, PLAIN, SHARES[0]]
COMMON = {"paper", "that"}
"""Of the words that errors have, those that shares may have, too."""
LETTERS = string.ascii_uppercase + string.digits + "- "


def wrong(text: str) -> str:
    with pytest.raises(InputError) as raised:
        parse("typed", text)
    return str(raised.value)


def shown(sheet: Sheet, said: str) -> set[str]:
    """Words of a sheet that were said, but for those that errors have anyway."""
    return {*" ".join(sheet.rows).split()} & {*re.findall(r"\w+", said)} - COMMON


@pytest.mark.parametrize("sheet", ALL, ids=lambda one: one.name.kind)
def test_what_is_typed_as_it_is_printed_is_what_was_printed(sheet: Sheet) -> None:
    assert parse("typed", sheet.text) == [sheet]
    assert [one.name for one in parse("typed", f"\n{sheet.text.lower()}\n\n{LETTER.text}")] == [sheet.name, LETTER.name]


@pytest.mark.parametrize("sheet", ALL, ids=lambda one: one.name.kind)
def test_each_wrong_character_is_found_in_its_line(sheet: Sheet) -> None:
    for number, line in enumerate(sheet.lines):
        for at, right in enumerate(line.upper()):
            for other in LETTERS.replace(right, ""):
                typed = [*sheet.lines]
                typed[number] = line[:at] + other + line[at + 1 :]
                assert f"line {number + 1}" in wrong("\n".join(typed)), typed[number]


@pytest.mark.parametrize("sheet", ALL, ids=lambda one: one.name.kind)
def test_each_character_left_out_and_two_that_changed_places_are_found(sheet: Sheet) -> None:
    for number, line in enumerate(sheet.lines):
        for at in range(len(line) - 1):
            swapped = line[:at] + line[at + 1] + line[at] + line[at + 2 :]
            without = line[:at] + line[at + 1 :]
            for other in {swapped, without} - {line}:
                if other.split() != line.split():
                    typed = [*sheet.lines[:number], other, *sheet.lines[number + 1 :]]
                    assert f"line {number + 1}" in wrong("\n".join(typed)), other


def test_lines_that_changed_places_are_found() -> None:
    for one, other in combinations(range(1, len(LETTER.lines)), 2):
        typed = [*LETTER.lines]
        typed[one], typed[other] = typed[other], typed[one]
        assert f"line {one + 1} ({other:02} of LETTER): comes after {one - 1:02}" in wrong("\n".join(typed))


def test_lines_left_out_cut_off_or_there_twice_are_found() -> None:
    lines = LETTER.lines
    assert "line 4 (04 of LETTER): comes after 02" in wrong("\n".join(lines[:3] + lines[4:]))
    assert f"LETTER: ends with line 02, and has {len(lines) - 1}" in wrong("\n".join(lines[:3]))
    assert "line 4 (02 of LETTER): comes after 02" in wrong("\n".join(lines[:3] + lines[2:]))
    assert "line 1: comes before a line 00" in wrong("\n".join(lines[1:]))
    assert "holds no line" in wrong("\n")


def test_a_line_of_another_sheet_is_found() -> None:
    for number in range(1, len(PLAIN.lines)):
        typed = [*SHARES[0].lines]
        typed[number] = SHARES[1].lines[number]
        if typed[number].split()[1:-1] != SHARES[0].lines[number].split()[1:-1]:
            assert f"({number:02} of SHARE-1-OF-3): is mistyped, or of another" in wrong("\n".join(typed))


def test_every_wrong_line_is_named_and_none_is_shown() -> None:
    lines = SHARES[0].lines
    typed = "\n".join(line.replace("a", "e") if number in (2, 4) else line for number, line in enumerate(lines))
    said = wrong(typed)
    assert said.count("is mistyped") == sum("a" in lines[number] for number in (2, 4))
    assert shown(SHARES[0], said) == set()


def test_the_key_comes_back_of_any_shares_that_are_enough_and_of_no_fewer() -> None:
    assert key.join("typed", [PLAIN]) == KEY
    for few in combinations(SHARES, 2):
        assert key.join("typed", few) == KEY
    assert key.join("typed", SHARES) == KEY
    for one in ([SHARES[1]], [SHARES[1], SHARES[1]]):
        with pytest.raises(InputError, match="too few shares: 1 of the 2") as raised:
            key.join("typed", one)
        assert shown(SHARES[1], str(raised.value)) == set()
    with pytest.raises(InputError, match="neither a key nor a share"):
        key.join("typed", [LETTER])


def test_shares_of_two_splits_make_no_key_and_show_no_word() -> None:
    others = key.rows(KEY, 2, 3)
    mixed = [SHARES[0], Sheet(SHARES[1].name, others["SHARE-2-OF-3"])]
    with pytest.raises(InputError, match="of two splits") as raised:
        key.join("typed", mixed)
    assert [shown(sheet, str(raised.value)) for sheet in mixed] == [set(), set()]


def test_the_letter_comes_back_by_its_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = key.lock(KEY, "AGE-SECRET-KEY-1\n")
    sheet = Sheet(LETTER.name, key.letter_rows(locked))
    assert key.unlock("typed", KEY, key.typed_letter(sheet)) == "AGE-SECRET-KEY-1\n"
    assert key.unlock("typed", KEY, key.armored(locked).encode()) == "AGE-SECRET-KEY-1\n"
    with pytest.raises(InputError, match="another envelope's"):
        key.unlock("typed", bytes(16), locked)
