"""What a check says, in one line; and that it says it in time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from threading import Thread
from typing import TypeVar

from backup.sizes import clean
from inventories.errors import InputError

T = TypeVar("T")
BOUND_S = 30
"""How long a check may take: a disk, an agent or a program that hangs holds no other check up."""


class State(StrEnum):
    """note: worth knowing, and no hindrance. unreachable: somewhere else than here."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Told:
    """mend: exactly what to run, or to do."""

    check: str
    state: State
    says: str
    mend: str = ""


class LateError(Exception):
    """A check did not come to its end."""


def ok(check: str, says: str) -> Told:
    """All is well."""
    return Told(check, State.OK, says)


def note(check: str, says: str, mend: str) -> Told:
    """Worth knowing."""
    return Told(check, State.NOTE, says, mend)


def wrong(check: str, says: str, mend: str) -> Told:
    """Nobody can work like this, or not rightly."""
    return Told(check, State.WRONG, says, mend)


def failed(check: str, error: InputError | OSError | LateError) -> Told:
    """What an error says, as it is, in one line."""
    if not isinstance(error, InputError):
        return wrong(check, _line(str(error)), "mend that, and run this again")
    where = f"{error.file}: {error.field}" if error.field else error.file
    return wrong(check, _line(f"{where}: {error.problem}"), _line(error.hint) or f"mend {error.file}")


def within(look: Callable[[], T], seconds: float = BOUND_S) -> T:
    """What it returns or raises, within that time. Raises LateError."""
    done: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(look())
        except BaseException as error:
            raised.append(error)

    worker = Thread(target=run, daemon=True)  # one that hangs does not outlive the program
    worker.start()
    worker.join(seconds)
    if raised:
        raise raised[0]
    if not done:
        raise LateError(f"no answer within {seconds:g} s")
    return done[0]


def told(check: str, look: Callable[[], Iterable[Told]]) -> Iterator[Told]:
    """What a check says, and be it that it cannot be made."""
    try:
        yield from within(lambda: list(look()))
    except (InputError, OSError, LateError) as error:
        yield failed(check, error)


def _line(words: str) -> str:
    return clean(" ".join(words.split()))
