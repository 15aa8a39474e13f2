"""An object as it is declared, or as a device has it; what differs between the two, in words."""

from collections.abc import Iterator
from typing import NamedTuple

from yubihsm.defs import ALGORITHM, OBJECT

from roles.signing.tools.state import words

Place = tuple[OBJECT, int]
"""By which a device knows an object."""


class Described(NamedTuple):
    """domains, capabilities, delegated: as bits. algorithm: 0 where any will do."""

    type: OBJECT
    id: int
    label: str
    algorithm: int
    domains: int
    capabilities: int
    delegated: int

    @property
    def place(self) -> Place:
        return self.type, self.id

    def __str__(self) -> str:
        return f"{words.of(words.OBJECTS, self.type)} {self.id:#06x} {self.label}".rstrip()


class Object(NamedTuple):
    """On a device. public: DER of an asymmetric key's public key; certificate: of a certificate, as it is stored."""

    described: Described
    public: bytes = b""
    certificate: bytes = b""


def differences(declared: Described, there: Described) -> Iterator[str]:
    """What is otherwise, and by how much."""
    if declared.label != there.label:
        yield f"label {there.label!r} in place of {declared.label!r}"
    if declared.algorithm and declared.algorithm != there.algorithm:
        yield f"algorithm {_algorithm(there.algorithm)} in place of {_algorithm(declared.algorithm)}"
    for what, name in (
        ("domains", words.domains),
        ("capabilities", words.capabilities),
        ("delegated capabilities", words.capabilities),
    ):
        field = what.partition(" ")[0]
        wanted, found = getattr(declared, field), getattr(there, field)
        if more := found & ~wanted:
            yield f"{what} too many: {name(more)}"
        if fewer := wanted & ~found:
            yield f"{what} that are missing: {name(fewer)}"


def _algorithm(code: int) -> str:
    try:
        return ALGORITHM(code).name.lower().replace("_", "-")
    except ValueError:
        return str(code)
