"""The `--data` switches of deploys/provision.py: lists of things, `host/NAME,volume/HOST/NAME`.

remove: delete what is no longer declared; detach: take a volume off its host and keep its data; resize: change a host's
plan, which reboots it; reinstall: give a host a fresh root disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inventories import clone
from inventories.errors import InputError

KINDS = {
    "remove": ("host", "volume", "vpc", "firewall", "record"),
    "detach": ("volume",),
    "resize": ("host",),
    "reinstall": ("host",),
}


@dataclass(frozen=True)
class Switches:
    """Things named on the command line."""

    remove: frozenset[str] = frozenset()
    detach: frozenset[str] = frozenset()
    resize: frozenset[str] = frozenset()
    reinstall: frozenset[str] = frozenset()


def parse(data: Mapping[str, object], file: Path | str) -> Switches:
    """Reads them; pyinfra's own data (`ssh_user`, `_sudo`) and every deploy's may be among them. Raises InputError."""
    for name in sorted(data.keys() - KINDS.keys() - {clone.SWITCH}):
        if not name.startswith(("ssh_", "_")):
            raise InputError(file, f"--data {name}", "no such switch", f"there are: {', '.join(KINDS)}")
    given = {}
    for switch, kinds in KINDS.items():
        things = frozenset(filter(None, str(data.get(switch) or "").replace(" ", "").split(",")))
        for thing in things:
            kind, *names = thing.split("/")
            if kind not in kinds or not all(names) or len(names) != (2 if kind == "volume" else 1):
                forms = ", ".join("volume/HOST/NAME" if k == "volume" else f"{k}/NAME" for k in kinds)
                raise InputError(file, f"--data {switch}", f"cannot read {thing!r}", f"it takes: {forms}")
        given[switch] = things
    for thing in sorted(given["remove"] & given["detach"]):
        hint = "removing deletes its data, detaching keeps it: name it once"
        raise InputError(file, f"--data remove={thing}", "is in --data detach= too", hint)
    return Switches(**given)
