"""Who has left, and which secrets that are still in use they knew: the typed file `departed.toml` beside the secrets.

    [bob]
    left = 2026-11-28
    knows = [
        "vultr_api_key",
    ]

    [bob.replaced]
    notify_ping = 2026-11-29

Being left out of a secret makes nobody forget it. So whatever encrypts one anew to fewer people than before writes down
here who they were (inventories/editing.py), and whatever replaces its value strikes it. `control` is a control host
that is no more, or that may no longer read something; `envelope` a sealed envelope.

Whoever knows the key of the control host reads what is encrypted to that, a new value too: what is for the control host
is struck only of those who do not know its key, or not any more.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import ValidationError

from inventories import broken, envelope, secrets
from inventories.errors import InputError
from inventories.files import locked, replace
from inventories.typed import Typed, input_error

FILE = "departed.toml"
HEADER = """\
# Who has left, which secrets that are still in use they knew, and which were replaced since.
# `mainstay admin remove` and what else changes secrets writes this; `mainstay admin list` says what is to be done.
"""


class Departed(Typed):
    """Somebody who could read secrets, and was left out."""

    left: date
    """In UTC."""
    knows: tuple[str, ...] = ()
    """Names of secrets whose values are still those."""
    replaced: dict[str, date] = {}
    """When others got new ones."""


People = Mapping[str, Departed]
"""By the name that they had."""


def read(files: Path) -> dict[str, Departed]:
    """All of a site's files; nobody where there is no such file. Raises InputError."""
    path = files / FILE
    hint = "restore it from git, or finish the merge: keep every line of both sides"
    try:
        tables = broken.toml(path, path.read_bytes(), hint)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}") from error
    return {name: _checked(path, name, table) for name, table in tables.items()}


def _checked(path: Path, name: str, table: object) -> Departed:
    try:
        return Departed.model_validate(table)
    except ValidationError as error:
        raise input_error(path, error, name) from error


def known(people: People) -> tuple[str, ...]:
    """Names of the secrets that somebody knows who has left, sorted."""
    return tuple(sorted({name for one in people.values() for name in one.knows}))


def note(files: Path, left_out: Mapping[str, Collection[str]]) -> None:
    """Writes down what people knew. left_out: names of secrets by theirs. The caller has the folder locked."""
    if any(left_out.values()):
        _write(files, noted(read(files), left_out, _today()))


def strike(path: Path, replaced: Iterable[str]) -> tuple[str, ...]:
    """Of secrets whose values are new, in the secrets file at `path`: nobody who has left knows these any more, and a
    sealed envelope that holds them is outdated.

    Returns the names of those that somebody can read all the same, by the key of the control host.
    """
    names, files = {*replaced}, path.parent
    with locked(files):
        envelope.outdate(files, names)
        people = read(files)
        if not names & {*known(people)}:
            return ()
        for_control = {name for name, entry in secrets.read(path).items() if secrets.SHARED & {*entry.tags}}
        after = struck(people, names, for_control, _today())
        if after != people:
            _write(files, after)
    return tuple(sorted(names & for_control & {*known(after)}))


def noted(people: People, left_out: Mapping[str, Collection[str]], today: date) -> dict[str, Departed]:
    """The same with those who are left out. Who leaves once more, with nothing left of the last time, leaves today."""
    after = {**people}
    for name, knew in left_out.items():
        before = after.get(name, Departed(left=today))
        after[name] = Departed(
            left=before.left if before.knows else today,
            knows=tuple(sorted({*before.knows, *knew})),
            replaced={secret: day for secret, day in before.replaced.items() if secret not in knew},
        )
    return after


def struck(people: People, names: Collection[str], for_control: Collection[str], today: date) -> dict[str, Departed]:
    """The same without the secrets of these names. for_control: those that the control host's key opens."""
    after = {}
    for person, before in people.items():
        hidden = {*for_control} if secrets.CONTROL_KEY in before.knows else set()
        gone = {*names} & {*before.knows} - hidden
        after[person] = Departed(
            left=before.left,
            knows=tuple(name for name in before.knows if name not in gone),
            replaced=before.replaced | dict.fromkeys(sorted(gone), today),
        )
    return after


def _today() -> date:
    return datetime.now(UTC).date()


def _write(files: Path, people: People) -> None:
    replace(files / FILE, HEADER + "".join(_table(name, one) for name, one in sorted(people.items())))


def _table(name: str, one: Departed) -> str:
    knows = "".join(f'    "{secret}",\n' for secret in one.knows)
    replaced = "".join(f"{secret} = {day}\n" for secret, day in sorted(one.replaced.items()))
    text = f"\n[{name}]\nleft = {one.left}\nknows = [\n{knows}]\n"
    return text + (f"\n[{name}.replaced]\n{replaced}" if replaced else "")
