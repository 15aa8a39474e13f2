"""Of a saved folder, what is brought back in a drill: by turns, as many keys as a device has room for. Pure."""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tomlkit
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from yubihsm.defs import OBJECT

from roles.signing.tools import places
from roles.signing.tools.saved import DECLARATION, KEYS
from roles.signing.tools.saved.checking import Finding
from roles.signing.tools.state import folder as files
from roles.signing.tools.state.folder import NONCE_BYTES, TAG_BYTES, Folder
from roles.signing.tools.state.loading import Declared

AT_ONCE = 30
"""A device has room for about 40 keys of RSA 4096."""
DEVICE = "drill"
FACTORY_ID = 0x0001
WHERE = slice(9, 11), slice(15, 16)
"""Of an object's id and type in what is unwrapped: after algorithm, capabilities, and length and domains between."""


def turns(declared: Declared) -> list[list[str]]:
    """Names of keys that can be brought back."""
    names = [name for name in declared.file.keys if declared.key_class(name).wrap_key]
    return [names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE)]


def declaration(declared: Declared, names: Sequence[str], serial: int, connector: str) -> str:
    """hsm.toml of a drill's device with these keys: nothing is generated or exported, and all of them are on it.

    No authentication key is in a backup: each is made anew, and one with the id of the factory's has another. No
    certificate is put in: it is held against its key.
    """
    told = places.parse(declared.path)
    told |= {"folder": KEYS, "devices": {DEVICE: {"serial": serial, "connector": connector}}}
    told["log"]["repository"] = "hsm-log"
    told["keys"] = {name: told["keys"][name] | {"on_device": True} for name in names}
    for one in told["classes"].values():
        one |= {"generate": False, "export": False, "certificate": False}
        one.pop("certificate_capabilities", None)
    keys = told["authentication_keys"]
    taken = {one["id"] for one in keys.values()}
    for one in keys.values():
        if one["id"] == FACTORY_ID:
            one["id"] = next(number for number in range(2, 0xFFFF) if number not in taken)
    return tomlkit.dumps(told)


def packed(declared: Declared, names: Sequence[str], text: str) -> bytes:
    """A tar of that hsm.toml, and of these keys and their certificates."""
    ids, there = {declared.file.keys[name].id for name in names}, Folder(declared.folder)
    paths = [path for kind in (there.wrapped, there.certificates) for number, path in kind.items() if number in ids]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in [
            (DECLARATION, text.encode()),
            *((f"{KEYS}/{one.name}", one.read_bytes()) for one in paths),
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def unwrapped(declared: Declared, secrets: Mapping[str, str]) -> Iterator[Finding]:
    """What the wrap keys do not open, or what is another object than the file's name says. secrets: in hexadecimal.

    A device tells only that it does not take a file: whether one is damaged or the wrap key is wrong is told by the
    others.
    """
    there, keys = Folder(declared.folder), declared.keys()
    for wrap, one in declared.wrap_keys().items():
        try:
            cipher = AESCCM(bytes.fromhex(secrets[wrap]), TAG_BYTES)
        except ValueError:
            yield Finding("wrap key", f"{wrap}: is no key of {one.id:#06x}: 32, 48 or 64 hexadecimal digits")
            continue
        mine = [keys[name].id for name in declared.file.keys if declared.key_class(name).wrap_key == wrap]
        opened = {number: _opened(cipher, there.wrapped[number]) for number in mine}
        if opened and not any(opened.values()):
            yield Finding(
                "wrap key", f"{wrap}: opens none of {len(opened)} files: this is another wrap key than theirs"
            )
            continue
        for number, plain in opened.items():
            name = there.wrapped[number].name
            if not plain:
                yield Finding("wrapped keys", f"{name}: is damaged, or wrapped by another wrap key than the others")
            elif (plain[WHERE[0]], plain[WHERE[1]]) != (number.to_bytes(2, "big"), bytes([OBJECT.ASYMMETRIC_KEY])):
                yield Finding("wrapped keys", f"{name}: holds another object, {plain[WHERE[0]].hex()}")


def _opened(cipher: AESCCM, path: Path) -> bytes:
    """Empty where the wrap key does not open it."""
    blob = files.blob(path)
    try:
        return cipher.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], None)
    except InvalidTag:
        return b""
