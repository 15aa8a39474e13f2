"""SHA-256 of what a ceremony is about, as people read it aloud: groups of four digits, eight to a line."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yubihsm.defs import OBJECT

from roles.signing.tools.errors import HsmError
from roles.signing.tools.state import folder as files
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.reading import Found

GROUP, GROUPS = 4, 8
NAME = "SHA256"
"""Stands before the digits: by it a transcript knows that they are no key's."""


class Fingerprint(NamedTuple):
    """digest: in hexadecimal. where: all places that have the same."""

    about: str
    digest: str
    where: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.about}: {', '.join(self.where)}\n" + "\n".join(aloud(self.digest))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def aloud(digest: str) -> list[str]:
    """Two lines; without a digest, what is to be filled in by hand."""
    digits = digest or "_" * 64
    parts = [digits[at : at + GROUP] for at in range(0, len(digits), GROUP)]
    halves = [" ".join(parts[at : at + GROUPS]) for at in range(0, len(parts), GROUPS)]
    return [f"  {name:6} {half}" for name, half in zip((NAME, ""), halves, strict=True)]


def of_file(path: Path) -> str:
    """Of what lies there. Raises OSError."""
    return sha256(path.read_bytes())


def fingerprints(declared: Declared, folder: Folder, found: Sequence[Found]) -> list[Fingerprint]:
    """Of the declaration, and of each declared key and certificate wherever it is. Raises HsmError."""
    places: dict[tuple[str, str], list[str]] = {}
    for about, digest, where in (
        (declared.path.name, of_file(declared.path), "the declaration"),
        *_in_folder(declared, folder),
        *(one for each in found for one in _on_device(declared, each)),
    ):
        places.setdefault((about, digest), []).append(where)
    order = {about: at for at, about in enumerate(dict.fromkeys(about for about, _ in places))}
    made = [Fingerprint(*key, tuple(where)) for key, where in places.items()]
    return sorted(made, key=lambda one: order[one.about])


def named(declared: Declared, folder: Folder) -> dict[str, str]:
    """Public keys of what is on devices, by what they are called, as far as certificates tell. Raises HsmError."""
    known = {about: digest for about, digest, _ in _in_folder(declared, folder)}
    names = [_key(name, one.id) for name, one in declared.file.keys.items() if one.on_device]
    return {name: known.get(name, "") for name in names}


def _key(name: str, number: int) -> str:
    return f"public key {number:#06x} {name}"


def _certificate(name: str, number: int) -> str:
    return f"certificate {number:#06x} {name}"


def _in_folder(declared: Declared, folder: Folder) -> Iterator[tuple[str, str, str]]:
    for name, one in declared.file.keys.items():
        if path := folder.certificates.get(one.id):
            try:
                read = files.certificate(path)
            except (ValueError, OSError) as error:
                raise HsmError(f"{path}: is no certificate: {error}") from None
            public = read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            yield _key(name, one.id), sha256(public), path.name
            yield _certificate(name, one.id), sha256(read.public_bytes(Encoding.DER)), path.name


def _on_device(declared: Declared, found: Found) -> Iterator[tuple[str, str, str]]:
    for name, one in declared.file.keys.items():
        if public := found.public(one.id):
            yield _key(name, one.id), sha256(public), found.place.name
        there = found.objects.get((OBJECT.OPAQUE, one.id))
        if there and there.certificate:
            yield _certificate(name, one.id), sha256(there.certificate), found.place.name
