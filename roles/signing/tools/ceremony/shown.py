"""What a terminal shows, as lines of text: what was typed over, or erased, is not in them.

Of a terminal's language (ECMA-48, xterm's control sequences) it knows what moves and erases within a line, which is
what a shell's line editor and progress bars use. A program that takes the whole screen comes out as its words, in the
order in which it draws them.
"""

import codecs
import re
from collections.abc import Callable

ESCAPE = re.compile(
    r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
)
"""Parameters and last letter of what moves and erases; or of something else, all of which is passed over."""
BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)\Z")
LONGEST, LONGEST_ESCAPE = 16384, 1024
"""Characters. A longer line is ended there; what claims to be a longer sequence is none."""


class Shown:
    """columns: of the terminal, as it is now: a longer line goes on in its next row."""

    def __init__(self, columns: Callable[[], int]) -> None:
        self._columns = columns
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest, self._at = "", 0
        self._line: list[str] = []
        self._done: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        """The lines that it ends."""
        text, at = self._rest + self._decode(data), 0
        self._rest = ""
        while at < len(text):
            if text[at] != "\x1b":
                self._put(text[at])
                at += 1
            elif found := ESCAPE.match(text, at):
                self._move(found[2] or "", found[1] or "")
                at = found.end()
            elif BEGUN.match(text, at) and len(text) - at < LONGEST_ESCAPE:
                self._rest = text[at:]
                break
            else:
                at += 1
        return self._ended()

    def end(self) -> list[str]:
        """What is left, when nothing more comes."""
        if self._line:
            self._end_line()
        return self._ended()

    def _ended(self) -> list[str]:
        done, self._done = self._done, []
        return done

    def _put(self, one: str) -> None:
        if one == "\n":
            self._end_line()
        elif one == "\r":
            self._at -= self._at % self._width
        elif one == "\b":
            self._at = max(0, self._at - 1)
        elif one == "\t":
            self._at += 8 - self._at % 8
        elif one.isprintable() or ord(one) > 0x9F:
            self._pad()
            self._line[self._at : self._at + 1] = one
            self._at += 1
            if self._at >= LONGEST:
                self._end_line()

    def _move(self, what: str, parameters: str) -> None:
        """By a control sequence's last letter."""
        first = parameters.split(";")[0]
        count = min(int(first), LONGEST) if first.isdigit() else 0
        by, at, row = max(count, 1), self._at, self._at - self._at % self._width
        match what:
            case "C":
                self._at = min(at + by, LONGEST)
            case "D":
                self._at = max(0, at - by)
            case "A":
                self._at = at - by * self._width if at >= by * self._width else at
            case "G":
                self._at = min(row + by - 1, LONGEST)
            case "K" | "J" if count == 0:
                del self._line[at:]
            case "K":
                self._pad()
                until = at + 1 if count == 1 else len(self._line)
                self._line[row:until] = " " * (until - row)
            case "P":
                del self._line[at : at + by]
            case "@":
                self._pad()
                self._line[at:at] = " " * by
            case "X":
                self._pad()
                self._line[at : at + by] = " " * by
            case "H" | "f" | "d" | "J" | "E" | "F" if self._line:
                self._end_line()

    @property
    def _width(self) -> int:
        return max(self._columns(), 1)

    def _pad(self) -> None:
        self._line += " " * (self._at - len(self._line))

    def _end_line(self) -> None:
        self._done.append("".join(self._line).rstrip())
        self._line, self._at = [], 0
