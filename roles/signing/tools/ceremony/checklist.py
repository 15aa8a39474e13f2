"""A checklist: who does what, the very command, what it must show, and what is read aloud."""

from collections.abc import Mapping
from typing import NamedTuple

OPERATOR, WITNESS = "operator", "witness"
BOTH = f"{OPERATOR} and {WITNESS}"


class Step(NamedTuple):
    """commands: to be typed as they stand, but for `____`, which a person fills in.

    expect: what the last of them shows, among other things. aloud: SHA-256 by what they are of, empty where it is to be
    written down. note: other things to write down.
    """

    who: str
    what: str
    commands: tuple[str, ...] = ()
    expect: tuple[str, ...] = ()
    aloud: Mapping[str, str] = {}
    note: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return self._asdict() | {"aloud": dict(self.aloud)}


class Checklist(NamedTuple):
    """digest: SHA-256 of the hsm.toml that it was made from. people: who signs it."""

    kind: str
    title: str
    declared: str
    digest: str
    devices: tuple[str, ...]
    people: tuple[str, ...]
    steps: tuple[Step, ...]

    def as_json(self) -> dict[str, object]:
        return self._asdict() | {"steps": [step.as_json() for step in self.steps]}
