"""Of hsm.toml, what custody of the logs needs: where the devices are and who reads their logs.

Without pydantic, as this is read around each call of a tool. All of the file is checked by `state/loading.py`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inventories.errors import InputError
from roles.signing.tools.wire import Place

FILE = "hsm.toml"
HINT = "`mainstay hsm plan` checks all of the file"


class Custody(NamedTuple):
    """path: of hsm.toml. devices: the first is the primary. repository: of the logs.

    reader, reader_id: the authentication key by which logs are read.
    """

    path: Path
    devices: tuple[Place, ...]
    repository: Path
    reader: str
    reader_id: int

    def chosen(self, names: Sequence[str]) -> tuple[Place, ...]:
        """The devices of these names, in the order of the file; all of them where there are none. Raises InputError."""
        known = [place.name for place in self.devices]
        for name in names:
            if name not in known:
                raise InputError(self.path, f"devices.{name}", "no such device", f"there are: {', '.join(known)}")
        return tuple(place for place in self.devices if place.name in names) or self.devices


def read(path: Path) -> Custody:
    """Raises InputError naming file, field and what to do."""
    told = parse(path)
    devices = [
        Place(name, _of(path, one, f"devices.{name}.serial", int), _of(path, one, f"devices.{name}.connector", str))
        for name, one in _of(path, told, "devices", dict).items()
    ]
    log = _of(path, told, "log", dict)
    reader = _of(path, log, "log.key", str)
    keys = _of(path, told, "authentication_keys", dict)
    number = _of(path, _of(path, keys, f"authentication_keys.{reader}", dict), f"authentication_keys.{reader}.id", int)
    repository = path.parent / _of(path, log, "log.repository", str)
    if not devices:
        raise InputError(path, "devices", "names none", HINT)
    return Custody(path, tuple(devices), repository, reader, number)


def parse(path: Path) -> dict[str, Any]:
    """Raises InputError."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        hint = "it declares the HSMs: see roles/signing/README.md"
        raise InputError(path, "", f"cannot be read: {error.strerror}", hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, "", f"not TOML: {error}") from error


def _of(path: Path, table: Mapping[str, Any], field: str, kind: type[Any]) -> Any:
    found = table.get(field.rpartition(".")[2]) if isinstance(table, Mapping) else None
    if not isinstance(found, kind) or isinstance(found, bool):
        words = {int: "a number", str: "a text", dict: "a table"}[kind]
        raise InputError(path, field, f"must be {words}", HINT)
    return found
