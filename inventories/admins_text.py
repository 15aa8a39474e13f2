"""The text of admins.toml with one table more, or one less; all else in it stays as it is. Pure.

Of comments those go with a table that stand in it, right above it or right below it. A comment that begins the file is
about the file, and one between two tables without a blank line is the lower one's.
"""

import re
from collections.abc import Mapping, Sequence

import tomlkit

Fields = Mapping[str, Sequence[str] | bool]
"""Fields of a table by name: lists of words, and switches. What is empty or off is left out."""


def with_table(text: str, name: str, fields: Fields) -> str:
    """The same with `[admins.NAME]` as the last table."""
    body = "".join(f"{field} = {_value(value)}\n" for field, value in fields.items() if value)
    before = f"{text.rstrip()}\n\n" if text.strip() else ""
    return f"{before}[admins.{name}]\n{body}"


def without_table(text: str, name: str) -> str:
    """The same without `[admins.NAME]`; as it was where it has no such line."""
    lines = text.splitlines(keepends=True)
    header = re.compile(rf"""\s*\[\s*admins\s*\.\s*(["']?){name}\1\s*\]\s*(#.*)?""")
    first = next((number for number, line in enumerate(lines) if header.fullmatch(line.rstrip())), None)
    if first is None:
        return text
    end = next((n for n in range(first + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    last = max(number for number in range(first, end) if not _is_blank(lines[number]) and not _comment(lines[number]))
    head, tail = lines[: _begin(lines, first)], lines[_below(lines, last + 1) :]
    while head and _is_blank(head[-1]) and (not tail or _is_blank(tail[0])):
        head.pop()
    while tail and _is_blank(tail[0]) and not head:
        tail.pop(0)
    return "".join(head + tail)


def _begin(lines: Sequence[str], header: int) -> int:
    """Where the comment right above a table begins; the table itself if that comment begins the file."""
    first = header
    while first and _comment(lines[first - 1]):
        first -= 1
    return first or header


def _below(lines: Sequence[str], first: int) -> int:
    """Where the comment right below a table ends; where it begins if the next table follows at once."""
    end = first
    while end < len(lines) and _comment(lines[end]):
        end += 1
    return end if end == len(lines) or _is_blank(lines[end]) else first


def _value(values: Sequence[str] | bool) -> str:
    if isinstance(values, bool):
        return "true"
    words = [tomlkit.string(value).as_string() for value in values]
    return f"[{words[0]}]" if len(words) == 1 else "[\n" + "".join(f"    {word},\n" for word in words) + "]"


def _is_blank(line: str) -> bool:
    return not line.strip()


def _comment(line: str) -> bool:
    return line.lstrip().startswith("#")
