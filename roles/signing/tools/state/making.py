"""What `apply` does with a device: each makes one thing that was not there, or says why not.

A loss of power leaves it made or not: a key that was generated and not yet exported is exported by the next run.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yubihsm.core import AuthSession
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, OBJECT
from yubihsm.objects import AsymmetricKey, AuthenticationKey, Opaque, WrapKey

from roles.signing.tools.errors import HsmError
from roles.signing.tools.state import folder as files
from roles.signing.tools.state import reading
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.objects import Described, differences
from roles.signing.tools.state.opened import Opened
from roles.signing.tools.wire import Place

Secret = Callable[[str], str]
Do = Callable[[Mapping[str, Opened]], None]


def wrap_key(place: Place, one: Described, secret: Callable[[], str]) -> Do:
    def do(opened: Mapping[str, Opened]) -> None:
        algorithm = ALGORITHM(one.algorithm)
        try:
            key = bytes.fromhex(secret())
        except ValueError:
            key = b""
        if len(key) != algorithm.to_key_size():
            raise HsmError(f"{one}: must be {2 * algorithm.to_key_size()} hexadecimal digits")
        bits = one.domains, CAPABILITY(one.capabilities), algorithm, CAPABILITY(one.delegated)
        opened[place.name].ask(
            f"{one} was not made", lambda session: WrapKey.put(session, one.id, one.label, *bits, key)
        )

    return do


def authentication_key(place: Place, one: Described, secret: Callable[[], str]) -> Do:
    def do(opened: Mapping[str, Opened]) -> None:
        password = secret()
        _own(str(one), password)
        bits = one.domains, CAPABILITY(one.capabilities), CAPABILITY(one.delegated)

        def make(session: AuthSession) -> AuthenticationKey:
            return AuthenticationKey.put_derived(session, one.id, one.label, *bits, password)

        opened[place.name].ask(f"{one} was not made", make)

    return do


def password(opened: Opened, key: str, fresh: str) -> None:
    """Another one for the authentication key that the session is of. key: as it is called. Raises HsmError."""
    _own(key, fresh)

    def change(session: AuthSession) -> None:
        AuthenticationKey(session, opened.key).change_password(fresh)

    opened.ask(f"the password of {key} was not changed", change)


def command_audit(place: Place, changed: Mapping[int, AUDIT]) -> Do:
    def do(opened: Mapping[str, Opened]) -> None:
        commands = {COMMAND(code): audit for code, audit in changed.items()}
        opened[place.name].ask("the audit of commands was not set", lambda session: session.set_command_audit(commands))

    return do


def force_audit(place: Place, wanted: AUDIT) -> Do:
    def do(opened: Mapping[str, Opened]) -> None:
        opened[place.name].ask("forced audit was not set", lambda session: session.set_force_audit(wanted))

    return do


def key(one: Described, holder: Place | None, missing: Sequence[Place], wrap: int, export: bool, folder: Folder) -> Do:
    """holder: that has it; without one and without a file it is generated on the first where it is missing.

    wrap: the wrap key's id. export: into the folder, where it has no file.
    """

    def do(opened: Mapping[str, Opened]) -> None:
        source, left = holder, list(missing)
        path = folder.wrapped.get(one.id)
        if path is None and source is None:
            source = left.pop(0)
            _generate(opened[source.name], one)
        if path is None and export and source:
            path = folder.write(one.id, _exported(opened[source.name], one, wrap))
        for place in left:
            assert path
            _import(opened[place.name], one, wrap, path)

    return do


def certificate(place: Place, one: Described, path: Path) -> Do:
    def do(opened: Mapping[str, Opened]) -> None:
        try:
            there = files.certificate(path)
        except (ValueError, OSError) as error:
            raise HsmError(f"{path}: is no certificate: {error}") from None
        of = there.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if of != reading.public(opened[place.name], one.id):
            raise HsmError(f"{path}: is a certificate of another key than {one.id:#06x} on {place.name}")
        bits = one.domains, CAPABILITY(one.capabilities)

        def make(session: AuthSession) -> Opaque:
            return Opaque.put_certificate(session, one.id, one.label, *bits, there)

        opened[place.name].ask(f"{one} was not put in", make)

    return do


def _own(key: str, password: str) -> None:
    if password == reading.DEFAULT_PASSWORD:
        raise HsmError(f"{key}: this is the password that devices leave the factory with: take another")


def _generate(opened: Opened, one: Described) -> None:
    bits = one.domains, CAPABILITY(one.capabilities), ALGORITHM(one.algorithm)
    opened.ask(f"{one} was not generated", lambda session: AsymmetricKey.generate(session, one.id, one.label, *bits))


def _exported(opened: Opened, one: Described, wrap: int) -> bytes:
    seed = one.algorithm == ALGORITHM.EC_ED25519

    def ask(session: AuthSession) -> bytes:
        with_wrap, exported = session.get_object(wrap, OBJECT.WRAP_KEY), session.get_object(one.id, one.type)
        assert isinstance(with_wrap, WrapKey)
        return with_wrap.export_wrapped(exported, seed=seed)

    return opened.ask(f"{one} was not exported", ask)


def _import(opened: Opened, one: Described, wrap: int, path: Path) -> None:
    """What is in a file is only known once it is on the device."""

    def ask(session: AuthSession) -> tuple[OBJECT, int]:
        with_wrap = session.get_object(wrap, OBJECT.WRAP_KEY)
        assert isinstance(with_wrap, WrapKey)
        made = with_wrap.import_wrapped(files.blob(path))
        return made.object_type, made.id

    there = opened.ask(f"{path} was not imported", ask)
    if there != one.place:
        raise HsmError(
            f"{opened.place}: {path} holds {there[1]:#06x}, another object: it is on the device now, delete it"
        )
    info = opened.ask(f"{one} was not read", lambda session: session.get_object(one.id, one.type).get_info())
    label = info.label if isinstance(info.label, str) else ""
    bits = info.domains, int(info.capabilities), int(info.delegated_capabilities)
    found = Described(info.object_type, info.id, label, info.algorithm, *bits)
    if told := list(differences(one, found)):
        raise HsmError(f"{opened.place}: {path} holds {one} with {'; '.join(told)}: it is on the device now")
