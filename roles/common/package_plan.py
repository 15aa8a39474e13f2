"""Which packages are missing or too old, from one look at the host. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

LOOK = r"${db:Status-Abbrev}\t${Package}\t${Version}\n"
INTERRUPTED = "mainstay:interrupted"
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True)
class Needed:
    """A package to be installed or upgraded."""

    name: str
    minimum: str
    why: str


@dataclass(frozen=True)
class Plan:
    needed: tuple[Needed, ...]
    interrupted: bool
    """An earlier dpkg was cut off and is to be finished first."""


def plan(present: Mapping[str, str | None], look: Iterable[str]) -> Plan:
    """Compares with the output of dpkg-query with LOOK (status `ii` is installed, dpkg-query(1))."""
    installed: dict[str, str] = {}
    unfinished = set()
    interrupted = False
    for line in look:
        if line == INTERRUPTED:
            interrupted = True
        else:
            status, name, version = line.split("\t")
            if status[1] == "i":
                installed[name] = version
            elif status[1] not in "nc":
                unfinished.add(name)
    needed = []
    for name, minimum in present.items():
        if name not in installed:
            needed.append(Needed(name, minimum or "", "not configured" if name in unfinished else "not installed"))
        elif minimum and older(installed[name], minimum):
            needed.append(Needed(name, minimum, f"{installed[name]}, wanted at least {minimum}"))
    return Plan(tuple(needed), interrupted)


def orders(plan: Plan) -> dict[str, object]:
    """What on_host/packages.py is told."""
    return {"packages": {need.name: need.minimum for need in plan.needed}}


def older(version: str, other: str) -> bool:
    """Whether a version is lower, by deb-version(7)."""
    return _compare(version, other) < 0


def _compare(left: str, right: str) -> int:
    for one, two in zip(_parts(left), _parts(right), strict=True):
        if result := _compare_part(one, two):
            return result
    return 0


def _parts(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version, revision."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "0")


def _compare_part(left: str, right: str) -> int:
    """Alternates between non-digits, letter by letter, and digits, as numbers."""
    pairs = zip_longest(re.findall(r"(\D*)(\d*)", left), re.findall(r"(\D*)(\d*)", right), fillvalue=("", ""))
    for (text, number), (other_text, other_number) in pairs:
        for one, two in zip_longest(text, other_text, fillvalue=""):
            if _weight(one) != _weight(two):
                return _weight(one) - _weight(two)
        if int(number or 0) != int(other_number or 0):
            return int(number or 0) - int(other_number or 0)
    return 0


def _weight(character: str) -> int:
    """`~` before the end, the end before letters, letters before everything else."""
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256
