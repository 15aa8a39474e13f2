"""What a device holds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yubihsm.core import AuthSession
from yubihsm.defs import ALGORITHM, AUDIT, OBJECT
from yubihsm.exceptions import YubiHsmAuthenticationError, YubiHsmError
from yubihsm.objects import Opaque

from roles.signing.tools.state.objects import Described, Object
from roles.signing.tools.state.objects import Place as Where
from roles.signing.tools.state.opened import Opened
from roles.signing.tools.wire import Place

DEFAULT_KEY, DEFAULT_PASSWORD = 1, "password"
"""With which a device leaves the factory."""


class Found(NamedTuple):
    """domains: that the session sees, as bits: what is in others alone it does not find.

    log_free: slots, when it was looked. commands: what is logged, by the codes of commands.
    """

    place: Place
    firmware: tuple[int, ...]
    log_free: int
    domains: int
    objects: Mapping[Where, Object]
    force: AUDIT
    commands: Mapping[int, AUDIT]

    def public(self, number: int) -> bytes:
        """Of an asymmetric key; empty where there is none."""
        found = self.objects.get((OBJECT.ASYMMETRIC_KEY, number))
        return found.public if found else b""


def read(opened: Opened) -> Found:
    """Raises HsmError."""
    listed = opened.ask("its objects were not listed", lambda session: list(session.list_objects()))
    objects = {(one.object_type, one.id): _object(opened, one.object_type, one.id) for one in listed}
    own = objects.get((OBJECT.AUTHENTICATION_KEY, opened.key))
    force = opened.ask("its options were not read", AuthSession.get_force_audit)
    commands = opened.ask("its options were not read", AuthSession.get_command_audit)
    return Found(
        place=opened.place,
        firmware=tuple(opened.info.version),
        log_free=opened.info.log_size - opened.info.log_used,
        domains=own.described.domains if own else 0,
        objects=objects,
        force=force,
        commands={int(command): audit for command, audit in commands.items()},
    )


def public(opened: Opened, number: int) -> bytes:
    """DER of an asymmetric key's public key. Raises HsmError."""

    def ask(session: AuthSession) -> bytes:
        key: Any = session.get_object(number, OBJECT.ASYMMETRIC_KEY)  # what it has is not typed
        return bytes(key.get_public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    return opened.ask(f"the public key of {number:#06x} was not read", ask)


def has_default_password(opened: Opened) -> bool:
    """Whether the key that devices leave the factory with, or another one with its id, has its password."""

    def tried(_: AuthSession) -> bool:
        try:
            other = opened.device.create_session_derived(DEFAULT_KEY, DEFAULT_PASSWORD)
        except YubiHsmAuthenticationError:
            return False
        try:
            other.close()
        except YubiHsmError:
            return True
        return True

    return opened.ask("the default password was not tried", tried)


def _object(opened: Opened, kind: OBJECT, number: int) -> Object:
    about = f"object {number:#06x} was not read"
    info = opened.ask(about, lambda session: session.get_object(number, kind).get_info())
    label = info.label if isinstance(info.label, str) else info.label.decode(errors="replace")
    bits = info.domains, int(info.capabilities), int(info.delegated_capabilities)
    described = Described(kind, number, label, info.algorithm, *bits)
    if kind == OBJECT.ASYMMETRIC_KEY:
        return Object(described, public=public(opened, number))
    if info.algorithm == ALGORITHM.OPAQUE_X509_CERTIFICATE:
        return Object(described, certificate=opened.ask(about, lambda session: Opaque(session, number).get()))
    return Object(described)
