"""What of the devices, the folder and the certificates is not as it must be."""

import gzip
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yubihsm.defs import AUDIT, OBJECT

from roles.signing.tools.state import folder as files
from roles.signing.tools.state import planning, words
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.reading import DEFAULT_KEY, Found

WRONG = 51
"""Exit code."""


class Finding(NamedTuple):
    """about: a device and an object, or a file."""

    about: str
    told: str

    def __str__(self) -> str:
        return f"{self.about}: {self.told}"


class Audited(NamedTuple):
    """objects: how many were looked at, by device."""

    findings: tuple[Finding, ...]
    objects: dict[str, int]

    @property
    def exit_code(self) -> int:
        return WRONG if self.findings else 0

    def as_json(self) -> dict[str, object]:
        return {
            "exit_code": self.exit_code,
            "objects": self.objects,
            "findings": [finding._asdict() for finding in self.findings],
        }


def audit(declared: Declared, found: Sequence[Found], folder: Folder, default: Sequence[str], now: datetime) -> Audited:
    """default: names of devices on which the default password still opens a session."""
    made = planning.plan(declared, found, folder, _no_secret)
    findings = [Finding(step.about, _words(step)) for step in made.steps]
    findings += [one for each in found for one in _device(declared, each)]
    findings += [
        Finding(
            f"{name}: authentication-key {DEFAULT_KEY:#06x}",
            "opens with the password that devices leave the factory with",
        )
        for name in default
    ]
    findings += _files(declared, folder)
    findings += [one for each in found for one in _certificates(declared, each, now)]
    findings += _pem(declared, found, folder, now)
    return Audited(tuple(dict.fromkeys(findings)), {each.place.name: len(each.objects) for each in found})


def _words(step: planning.Step) -> str:
    return "; ".join(line[2:] if line[:2] in ("+ ", "~ ", "- ") else line for line in step.words)


def _no_secret(name: str) -> str:
    raise AssertionError(f"an audit makes nothing, and asks for no secret of {name}")


def _device(declared: Declared, found: Found) -> Iterator[Finding]:
    name = found.place.name
    if found.force == AUDIT.OFF:
        yield Finding(f"{name}: forced audit", "off: a full log stops nothing, and its oldest entries are written over")
    if found.log_free < declared.file.log.free_slots:
        free = f"nearly full: {found.log_free} slots are free, {declared.file.log.free_slots} are to be"
        yield Finding(f"{name}: log", f"{free}; `mainstay hsm drain`")
    if blind := 0xFFFF & ~found.domains:
        told = f"does not see domains {words.domains(blind)}: what is in these alone is not found"
        yield Finding(f"{name}: this audit", f"{told}. Use a key that is in all")


def _files(declared: Declared, folder: Folder) -> Iterator[Finding]:
    """Of the folder: what no key explains, and what cannot be what its name says."""
    by_id = {one.id: (name, one) for name, one in declared.keys().items()}
    for number, path in sorted(folder.wrapped.items()):
        if number not in by_id:
            yield Finding(str(path), "no declared key has this id")
            continue
        name, one = by_id[number]
        if not declared.key_class(name).wrap_key:
            yield Finding(str(path), f"the class of {name} has no wrap_key: there is to be no such file")
        if wrong := files.problem(path, one.algorithm):
            yield Finding(str(path), wrong)
    for number, path in sorted(folder.certificates.items()):
        if number not in by_id:
            yield Finding(str(path), "no declared key has this id")
    for path in folder.others:
        yield Finding(str(path), "neither a wrapped key nor a certificate by its name")
    for name, one in declared.keys().items():
        of = declared.key_class(name)
        if (of.export or not declared.resident(name)) and one.id not in folder.wrapped:
            yield Finding(str(one), f"has no {one.id:#06x}{files.WRAPPED}: the device is all that has it")


def _certificates(declared: Declared, found: Found, now: datetime) -> Iterator[Finding]:
    """Those on a device."""
    for where, there in sorted(found.objects.items()):
        if not there.certificate:
            continue
        about = f"{found.place.name}: certificate {where[1]:#06x}"
        try:
            raw = gzip.decompress(there.certificate) if there.certificate[:2] == b"\x1f\x8b" else there.certificate
            read = x509.load_der_x509_certificate(raw)
        except (ValueError, OSError) as error:
            yield Finding(about, f"cannot be read: {error}")
            continue
        yield from _certificate(declared, about, read, found.public(where[1]), now)


def _pem(declared: Declared, found: Sequence[Found], folder: Folder, now: datetime) -> Iterator[Finding]:
    """Those in the folder, held against the key on any device, and against what devices have."""
    for number, path in sorted(folder.certificates.items()):
        try:
            read = files.certificate(path)
        except (ValueError, OSError) as error:
            yield Finding(str(path), f"is no certificate: {error}")
            continue
        public = next((each.public(number) for each in found if each.public(number)), b"")
        yield from _certificate(declared, str(path), read, public, now)
        for each in found:
            there = each.objects.get((OBJECT.OPAQUE, number))
            if there and there.certificate and there.certificate != read.public_bytes(Encoding.DER):
                yield Finding(str(path), f"is another certificate than that on {each.place.name}")


def _certificate(
    declared: Declared, about: str, read: x509.Certificate, public: bytes, now: datetime
) -> Iterator[Finding]:
    """public: of the key with its id; empty where there is none to hold it against."""
    if public and read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        yield Finding(about, "its public key is not that of the key with its id")
    ends = read.not_valid_after_utc
    if ends < now:
        yield Finding(about, f"expired on {ends:%Y-%m-%d}")
    elif ends < now + declared.file.expiry:
        yield Finding(about, f"expires on {ends:%Y-%m-%d}, in {(ends - now).days} days")
