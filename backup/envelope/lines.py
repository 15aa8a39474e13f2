"""Text that is printed, and typed in again: each line with its number before it and a checksum behind it.

    00 PROD 2026-11-28 7GQZ4K SHARE-1-OF-3 5-LINES 3F0A
    01 duckling enlarge academic academic 91CE
    ...

Line 00 begins a sheet and names it; the checksum of every other line is of that name too, so that a line of another
sheet is found as well. CRC-16 (binascii.crc_hqx) misses no error that lies within 16 bits: no wrong character and no
two neighbours that changed places. Capitals and small letters are the same.
"""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from inventories.errors import InputError

HEAD = re.compile(r"(\S+) (\d{4}-\d{2}-\d{2}) ([A-Z0-9]+) ([A-Z0-9-]+) (\d{1,2})-LINES")
NAMED = 8
"""So many lines that are wrong are named at once."""
HOW = "compare what was typed with the paper, line by line"


@dataclass(frozen=True)
class Name:
    """Of a sheet, all in capitals. envelope: which one it is of, `Record.id`; kind: what it is."""

    site: str
    sealed: str
    envelope: str
    kind: str


@dataclass(frozen=True)
class Sheet:
    """What is printed on one. rows: words with blanks between them."""

    name: Name
    rows: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """As they are printed."""
        head = _head(self.name, len(self.rows))
        return [_line(0, head, ""), *(_line(number, row, head) for number, row in enumerate(self.rows, 1))]

    @property
    def text(self) -> str:
        """All lines: what is typed, and what a scanner reads."""
        return "\n".join(self.lines)


def parse(where: str, text: str) -> list[Sheet]:
    """The sheets that were typed. where: what they were typed into.

    Raises InputError, which names every line that is wrong and shows none of it.
    """
    reading = _Reading()
    for position, line in enumerate(text.splitlines(), 1):
        if line.strip():
            reading.take(position, line.split())
    reading.end()
    if reading.wrong:
        raise InputError(where, "", "; ".join(reading.wrong[:NAMED]), HOW)
    if not reading.sheets:
        raise InputError(where, "", "holds no line of an envelope", "type in the lines 00, 01, ... of the paper")
    return reading.sheets


class _Reading:
    """wrong: what is, in words."""

    def __init__(self) -> None:
        self.sheets: list[Sheet] = []
        self.wrong: list[str] = []
        self._name: Name | None = None
        self._head, self._count, self._last = "", 0, 0
        self._rows: list[str] = []

    def take(self, position: int, words: Sequence[str]) -> None:
        at = f"line {position}"
        if len(words) < 3 or not re.fullmatch(r"[0-9]{2}", words[0]):
            self.wrong.append(f"{at}: has not its number, what it says and its checksum")
        elif int(words[0]) == 0:
            self.end()
            self._begin(at, " ".join(words[1:-1]), words[-1])
        elif self._name:
            self._row(f"{at} ({words[0]} of {self._name.kind})", int(words[0]), " ".join(words[1:-1]), words[-1])
        elif not self.wrong:
            self.wrong.append(f"{at}: comes before a line 00, which says what it is of")

    def end(self) -> None:
        """Of a sheet."""
        if self._name and self._last != self._count:
            self.wrong.append(f"{self._name.kind}: ends with line {self._last:02}, and has {self._count}")
        if self._name:
            self.sheets.append(Sheet(self._name, tuple(self._rows)))
        self._name = None

    def _begin(self, at: str, head: str, check: str) -> None:
        found = HEAD.fullmatch(head.upper())
        if not found or check.upper() != _check(0, head, ""):
            self.wrong.append(f"{at} (00, the first of a sheet): is mistyped; the others of it are not looked at")
            return
        *name, count = found.groups()
        self._name, self._head, self._count, self._last, self._rows = Name(*name), head, int(count), 0, []

    def _row(self, at: str, number: int, row: str, check: str) -> None:
        if number != self._last + 1:
            self.wrong.append(
                f"{at}: comes after {self._last:02}: lines changed places, or one is missing or there twice"
            )
        elif check.upper() != _check(number, row, self._head):
            self.wrong.append(f"{at}: is mistyped, or of another sheet")
        self._last = number
        self._rows.append(row)


def _head(name: Name, count: int) -> str:
    return f"{name.site} {name.sealed} {name.envelope} {name.kind} {count}-LINES".upper()


def _line(number: int, row: str, head: str) -> str:
    return f"{number:02} {row} {_check(number, row, head)}"


def _check(number: int, row: str, head: str) -> str:
    return f"{binascii.crc_hqx(f'{head}|{number}|{row}'.upper().encode(), 0xFFFF):04X}"
