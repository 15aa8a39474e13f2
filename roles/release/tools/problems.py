"""What is wrong with a release: which file, which field, what was found, what it should be."""

from dataclasses import dataclass

from backup.sizes import clean

SHOWN = 120
"""Characters of a hostile value that are shown."""


def shown(value: object) -> str:
    """A value out of a package, fit for a terminal: one line, no control characters, not long."""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return clean(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


@dataclass(frozen=True, order=True)
class Problem:
    """Why a release is not publishable. path: below the release's folder."""

    path: str
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: found {self.found}; expected {self.expected}"


@dataclass(frozen=True, order=True)
class Unknown:
    """What could not be judged, or was told for a person to know; it stops no release."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class Damaged(Exception):
    """The one error of everything that reads what others made: a field that is not as its format says."""

    def __init__(self, field: str, found: object, expected: str) -> None:
        self.field, self.found, self.expected = field, shown(found), expected
        super().__init__(f"{field}: found {self.found}; expected {expected}")

    def of(self, path: str) -> Problem:
        return Problem(shown(path), self.field, self.found, self.expected)
