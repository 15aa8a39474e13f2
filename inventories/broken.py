"""What to say of a typed file that cannot be read: on which line a merge was not finished, or where it was cut off."""

import re
import tomllib
from pathlib import Path
from typing import Any

from inventories.errors import InputError

MARKER = re.compile(r"(<{7}|\|{7}|={7}|>{7})( .*)?")
"""What git leaves at the beginning, in the middle and at the end of a conflict."""
TABLE = re.compile(r"\s*\[+\s*([^\]\s]+)\s*\]+\s*(#.*)?")


def toml(path: Path, content: bytes, hint: str) -> dict[str, Any]:
    """The tables of a file; `path` is only named in errors. Raises InputError, which never quotes the file."""
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(path, "", f"line {line} is not UTF-8", hint) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(path, "", _problem(content.decode().splitlines(), error), hint) from error


def since(content: bytes, table: str) -> str:
    """Where a table begins, for the end of a sentence; nothing where it has no line of its own."""
    lines = content.decode().splitlines()
    return next((f", in the table of line {line}" for line, name in _tables(lines) if name == table), "")


def _problem(lines: list[str], error: tomllib.TOMLDecodeError) -> str:
    for number, line in enumerate(lines, 1):
        if MARKER.fullmatch(line):
            return f"line {number} is where a merge was not finished"
    if "end of document" in str(error):
        begun = [f", in what began on line {line}" for line, _ in _tables(lines)]
        return f"is cut off at line {len(lines)}{begun[-1] if begun else ''}: {error}"
    return f"is not TOML: {error}"


def _tables(lines: list[str]) -> list[tuple[int, str]]:
    found = [(number, TABLE.fullmatch(line)) for number, line in enumerate(lines, 1)]
    return [(number, table[1]) for number, table in found if table]
