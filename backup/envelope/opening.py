"""Opens an envelope by what was typed from its paper, and looks whether the secrets of today open by it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backup.envelope import key, letter
from backup.envelope.lines import Sheet, parse
from inventories import envelope
from inventories.editing import private_folder
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.secrets import Secrets


@dataclass(frozen=True)
class Opened:
    """id, sealed: which envelope. text: of the letter, an age identity with comments."""

    id: str
    sealed: str
    text: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """restic's, for the backup that the repository lies in; empty if the letter does not say."""
        return letter.environment(self.text)


def read(path: Path) -> str:
    """What was typed into a file. Raises InputError."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(path, "", f"cannot be read: {what}", "name the file with the typed lines") from None


def open_typed(where: str, typed: str, site: LoadedSite | None) -> Opened:
    """where: what the lines were typed into. site: whose record has the letter, if that was not typed in.

    Raises InputError, which shows nothing of what was typed.
    """
    sheets = parse(where, typed)
    first = sheets[0].name
    for sheet in sheets:
        if sheet.name.envelope != first.envelope:
            problem = f"{first.kind} is of {first.envelope}, {sheet.name.kind} of {sheet.name.envelope}"
            raise InputError(where, "", f"has sheets of two envelopes: {problem}", "take those of the newest one")
    made = key.join(where, sheets)
    text = key.unlock(where, made, _letter(where, sheets, site))
    return Opened(first.envelope, first.sealed, text)


def _letter(where: str, sheets: Sequence[Sheet], site: LoadedSite | None) -> bytes:
    for sheet in sheets:
        if sheet.name.kind == key.LETTER:
            return key.typed_letter(sheet)
    hint = "type in the lines of its sheet LETTER, too"
    record = envelope.read(site.files) if site else None
    if not site or not record:
        known = f"{site.files / envelope.FILE} is not there" if site else "no inventory was named that has it"
        raise InputError(where, "", f"has no letter, and {known}", hint)
    if record.id != sheets[0].name.envelope:
        problem = f"is of {sheets[0].name.envelope}; the repository has the letter of {record.id}, of {record.sealed}"
        raise InputError(where, "", f"{problem} alone", hint)
    return record.letter.encode()


def differences(site: LoadedSite, opened: Opened) -> Iterator[str]:
    """What of the site's secrets it does not open, and what of the letter is not so any more, in words."""
    with private_folder() as folder:
        identity = folder / "identity"
        identity.touch(mode=0o600)
        identity.write_text(opened.text)
        held = Secrets(site.secrets.path, [identity])
        for name in held:
            try:
                held[name].get_secret_value()
            except InputError as error:
                yield f"{name}: {error.problem}"
        yield from _moved(site, held, opened.environment)


def _moved(site: LoadedSite, held: Secrets, said: dict[str, str]) -> Iterator[str]:
    try:
        way = letter.way(site, held)
    except InputError as error:
        yield f"the letter cannot be compared: {error.field}: {error.problem}"
        return
    now = way.environment if way else {}
    for variable in sorted({*said, *now}):
        if said.get(variable) != now.get(variable):
            yield f"the letter's {variable} is not what it is today"


def write(path: Path, opened: Opened) -> None:
    """The letter as a file that others cannot read, and `age -i` takes. Raises InputError where there is one."""
    try:
        with open(path, "x", opener=_private) as out:
            out.write(opened.text)
    except FileExistsError:
        raise InputError("--out", "", f"{path} is there already", "name a file that is not there yet") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
