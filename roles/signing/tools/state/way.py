"""The devices, read by a declaration's own authentication keys."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from roles.signing.tools.custody.draining import drain
from roles.signing.tools.custody.git import Git
from roles.signing.tools.errors import HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.state import planning, reading
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.opened import Opened, opened
from roles.signing.tools.state.planning import Plan
from roles.signing.tools.state.reading import Found
from roles.signing.tools.wire import Place


class Way(NamedTuple):
    """devices: those that are looked at, by their names, the primary first."""

    declared: Declared
    devices: dict[str, Opened]
    passwords: Passwords

    def read(self) -> list[Found]:
        """Raises HsmError."""
        return [reading.read(one) for one in self.devices.values()]

    def folder(self) -> Folder:
        """As it is now. Raises HsmError."""
        return Folder(self.declared.folder)

    def plan(self) -> Plan:
        """Raises HsmError."""
        return planning.plan(self.declared, self.read(), self.folder(), lambda name: self.passwords.of(name, new=True))


@contextmanager
def connect(declared: Declared, places: tuple[Place, ...], passwords: Passwords, key: str) -> Iterator[Way]:
    """key: the authentication key's name in the file, or its id. Raises HsmError."""
    known = declared.file.authentication_keys
    number = known[key].id if key in known else _id(key)
    with ExitStack() as stack:
        devices = {
            place.name: stack.enter_context(
                opened(place, number, partial(passwords.of, key), partial(_drain, declared, place, passwords))
            )
            for place in places
        }
        yield Way(declared, devices, passwords)


def _drain(declared: Declared, place: Place, passwords: Passwords) -> None:
    custody = declared.custody
    done = drain(place, Git(custody.repository), custody.reader_id, lambda: passwords.of(custody.reader))
    if done.incidents:
        told = "; ".join(one.told for one in done.incidents)
        raise HsmError(f"{place}: its log was drained, and shows an incident: {told}. `mainstay hsm verify` first")


def _id(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise HsmError(f"--key {text}: no such authentication key, and no id of one like 0x0001") from None
