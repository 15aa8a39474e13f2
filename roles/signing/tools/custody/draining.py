"""`drain`: the log into the repository, and only then its slots free.

Killed at any moment it has lost nothing: what is not committed is still on the device, and what is committed and not
freed is known again by number and digest.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from yubihsm.core import AuthSession
from yubihsm.defs import COMMAND
from yubihsm.exceptions import YubiHsmInvalidResponseError

from roles.signing.tools.custody import entries
from roles.signing.tools.custody.entries import KINDS, LAYOUT, Entry, Incident
from roles.signing.tools.custody.git import Git
from roles.signing.tools.custody.repository import Log
from roles.signing.tools.devices import Device, connected, said, session
from roles.signing.tools.wire import Place

HEADER_BYTES = 5
"""Of what GET LOG ENTRIES answers: unlogged boots and logins, and how many entries follow."""


class Drained(NamedTuple):
    """entries: how many were new. last: the number of the newest one; used: slots in use before."""

    place: Place
    entries: int
    last: int | None
    used: int
    incidents: tuple[Incident, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.place.name,
            "serial": self.place.serial,
            "entries": self.entries,
            "last": self.last,
            "slots_used": self.used,
            "incidents": [incident._asdict() for incident in self.incidents],
        }


def drain(place: Place, git: Git, key: int, password: Callable[[], str]) -> Drained:
    """Of one device, by its authentication key for logs. Raises HsmError, OSError."""
    with git.alone(), connected(place) as device:
        log = Log(git, place.serial)
        with session(place, device, key, password()) as opened:
            return drained(place, device, opened, log)


def drained(place: Place, device: Device, opened: AuthSession, log: Log) -> Drained:
    """By a session that may read logs and has just begun. Raises HsmError, OSError."""
    with said(place, "its log was not read"):
        boots, logins, told = read(opened)
    found = [*entries.unlogged(boots, logins, told), *entries.news(log.last(), told)]
    if found:
        log.add(found)
    if told:
        with said(place, "its log is committed; its slots were not freed, the next drain does that"):
            opened.set_log_index(told[-1].number)
    newest = log.last()
    incidents = tuple(one for one in found if isinstance(one, Incident))
    return Drained(
        place, len(found) - len(incidents), newest.number if newest else None, device.info.log_used, incidents
    )


def read(opened: AuthSession) -> tuple[int, int, list[Entry]]:
    """Unlogged boots, unlogged logins, and the entries in the device's order, whatever their digests are.

    `AuthSession.get_log_entries` refuses a chain that is broken, which is the one to be kept. Raises YubiHsmError.
    """
    raw = opened.send_secure_cmd(COMMAND.GET_LOG_ENTRIES)
    body = raw[HEADER_BYTES:]
    if len(raw) < HEADER_BYTES or len(body) != raw[HEADER_BYTES - 1] * LAYOUT.size:
        raise YubiHsmInvalidResponseError("Incorrect length")
    found = [Entry.parse(body[at : at + LAYOUT.size]) for at in range(0, len(body), LAYOUT.size)]
    return int.from_bytes(raw[:2], "big"), int.from_bytes(raw[2:4], "big"), found


def incidents_of(done: Sequence[Drained]) -> list[str]:
    """In words."""
    return [
        f"{one.place}: INCIDENT, {KINDS[incident.kind]}: {incident.told}" for one in done for incident in one.incidents
    ]
