"""Reads hsm.toml. Touches no device, and nothing goes to one while it is malformed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError
from yubihsm.defs import ALGORITHM, OBJECT

from inventories.errors import InputError
from inventories.typed import input_error
from roles.signing.tools import places
from roles.signing.tools.places import Custody
from roles.signing.tools.state import words
from roles.signing.tools.state.declaration import (
    AuthenticationKey,
    File,
    Key,
    KeyClass,
    Shares,
    WrapKey,
    capability_bits,
    domain_bits,
)
from roles.signing.tools.state.objects import Described


class Declared(NamedTuple):
    """path: of hsm.toml. folder: of wrapped keys and certificates."""

    path: Path
    file: File
    custody: Custody
    folder: Path

    def key_class(self, name: str) -> KeyClass:
        """Of a key."""
        return self.file.classes[self.file.keys[name].class_]

    def authentication_keys(self) -> dict[str, Described]:
        return {
            name: _described(OBJECT.AUTHENTICATION_KEY, name, one, one.domains, one.capabilities, one.delegated)
            for name, one in self.file.authentication_keys.items()
        }

    def wrap_keys(self) -> dict[str, Described]:
        return {
            name: _described(OBJECT.WRAP_KEY, name, one, one.domains, one.capabilities, one.delegated)._replace(
                algorithm=words.WRAPS[one.algorithm]
            )
            for name, one in self.file.wrap_keys.items()
        }

    def keys(self) -> dict[str, Described]:
        """Asymmetric ones, also those that are not always on a device."""
        found = {}
        for name, one in self.file.keys.items():
            of = self.key_class(name)
            made = _described(OBJECT.ASYMMETRIC_KEY, name, one, of.domains, of.capabilities)
            found[name] = made._replace(algorithm=words.ALGORITHMS[of.algorithm])
        return found

    def certificates(self) -> dict[str, Described]:
        """By the names of their keys."""
        found = {}
        for name, one in self.file.keys.items():
            of = self.key_class(name)
            if of.certificate:
                made = _described(OBJECT.OPAQUE, name, one, of.domains, of.certificate_capabilities)
                found[name] = made._replace(algorithm=ALGORITHM.OPAQUE_X509_CERTIFICATE)
        return found

    def resident(self, name: str) -> bool:
        return self.file.keys[name].on_device


def load(path: Path) -> Declared:
    """Raises InputError naming file, field and what to do."""
    try:
        file = File.model_validate(places.parse(path))
    except ValidationError as error:
        raise input_error(path, error) from error
    for field, problem, hint in _problems(file):
        raise InputError(path, field, problem, hint)
    return Declared(path, file, places.read(path), path.parent / file.folder)


def _problems(file: File) -> Iterator[tuple[str, str, str]]:
    """Field, problem and hint of what is wrong between parts of the file."""
    yield from _twice("devices", {name: one.serial for name, one in file.devices.items()}, "serial")
    yield from _twice("devices", {name: one.connector for name, one in file.devices.items()}, "connector")
    for table in ("authentication_keys", "wrap_keys", "keys"):
        yield from _twice(table, {name: one.id for name, one in getattr(file, table).items()}, "id")
    for table in ("state", "log"):
        if (key := getattr(file, table).key) not in file.authentication_keys:
            known = ", ".join(file.authentication_keys) or "none"
            yield f"{table}.key", f"{key}: no such authentication key", f"there are: {known}"
    reader = file.authentication_keys.get(file.log.key)
    if reader and "get-log-entries" not in reader.capabilities:
        yield f"authentication_keys.{file.log.key}.capabilities", "lacks get-log-entries", "log.key names it"
    for command, audit in file.audit.exceptions.items():
        if command in words.NEVER_LOGGED and audit != "off":
            problem = "must stay off: a device whose log is full could be neither read nor freed, only reset"
            yield f"audit.exceptions.{command}", problem, "take the line away"
    for name, wrap in file.wrap_keys.items():
        if wrap.shares:
            yield from _share_problems(f"wrap_keys.{name}.shares", wrap.shares)
    for name, key in file.keys.items():
        if key.class_ not in file.classes:
            yield (
                f"keys.{name}.class",
                f"{key.class_}: no such class",
                f"there are: {', '.join(file.classes) or 'none'}",
            )
        if len(name.encode()) > 40 and not key.label:
            yield f"keys.{name}.label", "is missing, and the name is too long for one", "give one of at most 40 bytes"
        if not key.on_device and key.class_ in file.classes and not file.classes[key.class_].wrap_key:
            yield f"keys.{name}.on_device", "false needs a wrapped file", f"give classes.{key.class_} a wrap_key"
    for name, one in file.classes.items():
        yield from _class_problems(file, f"classes.{name}", one)


def _share_problems(field: str, shares: Shares) -> Iterator[tuple[str, str, str]]:
    if shares.threshold > len(shares.holders):
        problem = f"{shares.threshold} of {len(shares.holders)} holders can never come together"
        yield f"{field}.threshold", problem, "lower it, or name more holders"
    yield from _twice(f"{field}.holders", shares.holders, "")


def _class_problems(file: File, field: str, one: KeyClass) -> Iterator[tuple[str, str, str]]:
    if one.export and not one.wrap_key:
        yield f"{field}.export", "needs a wrap_key", "name one of wrap_keys, or do not export"
    if one.export and "exportable-under-wrap" not in one.capabilities:
        yield f"{field}.capabilities", "lacks exportable-under-wrap, which export needs", "add it, or do not export"
    if one.certificate_capabilities and not one.certificate:
        yield f"{field}.certificate_capabilities", "there is no certificate", "add certificate = true"
    if not one.wrap_key:
        return
    wrap = file.wrap_keys.get(one.wrap_key)
    if not wrap:
        known = ", ".join(file.wrap_keys) or "none"
        yield f"{field}.wrap_key", f"{one.wrap_key}: no such wrap key", f"there are: {known}"
        return
    if missing := sorted({*one.capabilities} - {*wrap.delegated}):
        problem = f"{', '.join(missing)}: the wrap key {one.wrap_key} does not delegate it, so it wraps no such key"
        yield f"{field}.capabilities", problem, f"add it to wrap_keys.{one.wrap_key}.delegated"


def _twice(table: str, values: Mapping[str, int | str], field: str) -> Iterator[tuple[str, str, str]]:
    known: dict[int | str, str] = {}
    for name, value in values.items():
        if value in known:
            told = f"{value:#06x}" if field == "id" and isinstance(value, int) else str(value)
            yield f"{table}.{name}.{field}".rstrip("."), f"{told} is that of {known[value]} too", "each has its own"
        known[value] = name


def _described(
    kind: OBJECT,
    name: str,
    one: Key | WrapKey | AuthenticationKey,
    domains: tuple[int, ...],
    capabilities: tuple[str, ...],
    delegated: tuple[str, ...] = (),
) -> Described:
    bits = domain_bits(domains), capability_bits(capabilities), capability_bits(delegated)
    return Described(kind, one.id, one.label or name, 0, *bits)
