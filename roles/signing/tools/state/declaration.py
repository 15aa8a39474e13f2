"""What hsm.toml may say: the shapes and checks that need no other part of it."""

import re
from collections.abc import Iterable
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Annotated, Literal
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from pydantic import AfterValidator, BeforeValidator, Field

from inventories.typed import Name, Typed
from roles.signing.tools.state import words

LABEL_BYTES = 40
"""Of an object's label (YubiHSM 2 user guide, objects)."""


def _known(table: Iterable[str], what: str, text: str) -> str:
    if text not in table:
        raise ValueError(f"{text!r} is no {what}; there are: {', '.join(sorted(table))}")
    return text


def _capability(text: str) -> str:
    return _known(words.CAPABILITIES, "capability", text)


def _algorithm(text: str) -> str:
    return _known(words.ALGORITHMS, "algorithm of keys", text)


def _command(text: str) -> str:
    return _known(words.COMMANDS, "command", text)


def _domains(value: object) -> object:
    return tuple(words.DOMAINS) if value == "all" else value


def _label(text: str) -> str:
    if len(text.encode()) > LABEL_BYTES or "\0" in text:
        raise ValueError(f"must be at most {LABEL_BYTES} bytes")
    return text


def _connector(text: str) -> str:
    url = urlsplit(text)
    if url.scheme != "http" or not url.hostname or url.path.strip("/") or url.query:
        raise ValueError("must be a connector's address, like http://127.0.0.1:12345")
    return text


def _version(text: str) -> str:
    if not re.fullmatch(r"\d{1,3}\.\d{1,3}\.\d{1,3}", text):
        raise ValueError("must be a version, like 2.4.0")
    return text


def _ssh_key(text: str) -> str:
    """Without its comment."""
    kind, *rest = text.split() or [""]
    if kind.startswith("sk-"):
        raise ValueError("a security key's key signs, and decrypts nothing: give another one of theirs")
    if kind not in ("ssh-ed25519", "ssh-rsa"):
        raise ValueError("must be an SSH public key that age takes, ssh-ed25519 or ssh-rsa")
    try:
        load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"is no whole SSH public key: {error}") from None
    return f"{kind} {rest[0]}"


Id = Annotated[int, Field(ge=1, le=0xFFFE)]
Label = Annotated[str, AfterValidator(_label)]
Capability = Annotated[str, AfterValidator(_capability)]
Command = Annotated[str, AfterValidator(_command)]
Domain = Annotated[int, Field(ge=1, le=16)]
Domains = Annotated[tuple[Domain, ...], BeforeValidator(_domains), Field(min_length=1)]
"""A list of numbers, or "all"."""
SshKey = Annotated[str, AfterValidator(_ssh_key)]
Audit = Literal["off", "on", "fixed"]
"""fixed: on, until the device is reset to how it left the factory."""


def domain_bits(numbers: Iterable[int]) -> int:
    return reduce(or_, (1 << number - 1 for number in numbers), 0)


def capability_bits(names: Iterable[str]) -> int:
    return reduce(or_, (int(words.CAPABILITIES[name]) for name in names), 0)


class Device(Typed):
    """One YubiHSM 2."""

    serial: Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
    connector: Annotated[str, AfterValidator(_connector)]


class Log(Typed):
    """Custody of the devices' logs."""

    repository: Annotated[str, Field(min_length=1)]
    """A git repository, relative to this file."""
    key: Name
    """The authentication key that reads logs."""
    free_slots: Annotated[int, Field(ge=0, le=61)] = 20
    """An audit calls a log with fewer nearly full."""


class State(Typed):
    """By which authentication key state is read and made."""

    key: Name


class Auditing(Typed):
    """What devices log."""

    force: Audit
    """Whether a device refuses everything when its log is full."""
    commands: Audit
    """Of every command, but for GET LOG ENTRIES, SET LOG INDEX and SESSION MESSAGE, which are never logged."""
    exceptions: dict[Command, Audit] = {}

    def of(self, command: str) -> Audit:
        return "off" if command in words.NEVER_LOGGED else self.exceptions.get(command, self.commands)


class AuthenticationKey(Typed):
    """Who may do what. Its name in the file is its label, unless it says another."""

    id: Id
    label: Label = ""
    domains: Domains
    capabilities: tuple[Capability, ...]
    delegated: tuple[Capability, ...] = ()
    """What objects that it makes may have."""


class Shares(Typed):
    """Of a wrap key that no person knows: `threshold` of its holders make it together (SLIP-39)."""

    threshold: Annotated[int, Field(ge=2, le=16)]
    holders: Annotated[dict[Name, SshKey], Field(min_length=2, max_length=16)]
    """SSH public keys by name, to which shares are encrypted."""


class WrapKey(Typed):
    """Under which keys leave a device, and come into another one."""

    id: Id
    label: Label = ""
    algorithm: Literal["aes128-ccm-wrap", "aes192-ccm-wrap", "aes256-ccm-wrap"] = "aes256-ccm-wrap"
    domains: Domains
    capabilities: tuple[Capability, ...]
    delegated: tuple[Capability, ...]
    """What it may wrap, and unwrap."""
    shares: Shares | None = None
    """Without them, the key's hexadecimal digits are asked for."""


class KeyClass(Typed):
    """What keys have in common."""

    algorithm: Annotated[str, AfterValidator(_algorithm)] = "rsa4096"
    domains: Domains
    capabilities: tuple[Capability, ...]
    wrap_key: str = ""
    """Under which wrap key they are imported and exported; without one they are neither."""
    generate: bool = False
    """Whether `apply` makes those that are nowhere, on the first device."""
    export: bool = False
    """Whether `apply` writes those that have no wrapped file into the folder."""
    certificate: bool = False
    """Whether each has a certificate, an opaque object with its id."""
    certificate_capabilities: tuple[Capability, ...] = ()


class Key(Typed):
    """An asymmetric key. Its name in the file is its label, unless it says another."""

    id: Id
    label: Label = ""
    class_: Annotated[str, Field(alias="class")]
    on_device: bool = True
    """Otherwise its wrapped file is enough; it may be on a device all the same."""


class File(Typed):
    """All of hsm.toml."""

    firmware: Annotated[str, AfterValidator(_version)] = "2.4.0"
    """The oldest that is good enough."""
    folder: str = "keys"
    """Of wrapped keys (0x0101-asymmetric-key.yhw) and certificates (0x0101.x509.pem), relative to this file."""
    expires_days: Annotated[int, Field(ge=1)] = 90
    """Before a certificate's end an audit says so."""
    devices: Annotated[dict[Name, Device], Field(min_length=1)]
    """The first one is the primary, the others are its backups: they hold the same."""
    log: Log
    state: State
    audit: Auditing
    authentication_keys: dict[Name, AuthenticationKey]
    wrap_keys: dict[Name, WrapKey] = {}
    classes: dict[Name, KeyClass] = {}
    keys: dict[str, Key] = {}

    @property
    def minimum(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.firmware.split("."))

    @property
    def expiry(self) -> timedelta:
        return timedelta(days=self.expires_days)
