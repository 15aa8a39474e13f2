"""The text of project.config and of groups, which every project keeps in refs/meta/config.

project.config is git's format as JGit reads it: git itself would lower the letters of keys, and those of
`label-Code-Review` matter.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_SECTION = re.compile(r'\[\s*([A-Za-z0-9.-]+)\s*(?:"((?:[^"\\]|\\.)*)")?\s*\]\s*')
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", '"': '"', "\\": "\\"}
GROUPS_HEAD = "# UUID                                  \tGroup Name\n#\n"


class Entry(NamedTuple):
    """A line of project.config. section: in small letters; name: of a subsection, else empty."""

    section: str
    name: str
    key: str
    value: str


class Broken(Exception):
    """It is not such a text; says in which line."""


def parse(text: str) -> list[Entry]:
    """All entries, in order. Raises Broken."""
    found, section, name = [], "", ""
    for number, line in _lines(text):
        rest = line.lstrip()
        if rest.startswith("["):
            head = _SECTION.match(rest)
            if not head:
                raise Broken(f"project.config, line {number}: not a section")
            section, name = head[1].lower(), re.sub(r"\\(.)", r"\1", head[2] or "")
            rest = rest[head.end() :]
        if not rest or rest[0] in "#;":
            continue
        key, equals, value = rest.partition("=")
        if not section or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", key.strip()):
            raise Broken(f"project.config, line {number}: not `key = value`")
        found.append(Entry(section, name, key.strip(), _value(value) if equals else "true"))
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """With their numbers; one that ends with an odd backslash goes on in the next."""
    begun = ""
    for number, line in enumerate(text.split("\n"), 1):
        if re.search(r"(?<!\\)(\\\\)*\\$", line):
            begun += line[:-1]
            continue
        yield number, begun + line
        begun = ""
    if begun:
        yield number, begun


def _value(text: str) -> str:
    made, quoted, kept, at = "", False, 0, 0
    text = text.strip()
    while at < len(text):
        sign = text[at]
        if sign == "\\" and at + 1 < len(text):
            at += 1
            made += _ESCAPES.get(text[at], text[at])
            kept = len(made)
        elif sign == '"':
            quoted = not quoted
            kept = len(made)
        elif sign in "#;" and not quoted:
            break
        else:
            made += sign
            kept = kept if sign.isspace() and not quoted else len(made)
        at += 1
    return made[:kept]


def render(entries: Iterable[Entry]) -> str:
    """A text of these entries, those of a section together in the order given."""
    sections: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        sections.setdefault((entry.section, entry.name), []).append(entry)
    made = []
    for (section, name), inside in sections.items():
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        made.append(f'[{section} "{quoted}"]' if name else f"[{section}]")
        made += [f"\t{entry.key} = {_written(entry.value)}" for entry in inside]
    return "".join(f"{line}\n" for line in made)


def _written(value: str) -> str:
    for sign, letter in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\b", "\\b")):
        value = value.replace(sign, letter)
    return f'"{value}"' if value != value.strip() or set(value) & set("#;") else value


def parse_groups(text: str) -> dict[str, str]:
    """UUIDs by the names that project.config calls them by."""
    lines = (line.partition("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {name.strip(): uuid.strip() for uuid, _, name in lines if name.strip()}


def render_groups(uuids: dict[str, str]) -> str:
    """The text of `groups`, of UUIDs by name."""
    lines = sorted(f"{uuid:<40}\t{name}\n" for name, uuid in uuids.items())
    return GROUPS_HEAD + "".join(lines)
