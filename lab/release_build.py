"""Releases as a build host makes them: OTA packages that phones would take, signed, of any size.

Unlike lab/sample.py, whose packages are no more than a release server needs, these hold up to `mainstay release check`:
metadata with property files, payloads with header and hashes, and the signature of the whole package. Each device has a
key of its own, made once in a given folder. Formats: see roles/release/tools.
"""

import base64
import hashlib
import random
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from inventories.files import replace, sha256
from lab.sample import CHANNELS, CURRENT, Build, Device

CERTIFICATES, PRIVATE = "release-certificates", "release-keys"
NOISE = 1 << 20
FOLLOWING_BYTES = 2_000_000
MANIFEST, METADATA_SIGNATURE = 20_000, 267
METADATA, PAYLOAD, PROPERTIES = "META-INF/com/android/metadata", "payload.bin", "payload_properties.txt"
LISTED_BYTES = 300
"""Room for the list of property files, padded by spaces: it tells offsets that depend on its own length."""
NEXT = Build("260820510", CURRENT.timestamp + 30 * 86400, "16")
"""What follows on the sample's archive."""
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signer:
    """A device's release key and its certificate."""

    key: Key
    certificate: x509.Certificate


def signer(folder: Path, device: str, *, rsa_bits: int = 0) -> Signer:
    """A device's, made below the folder when it is not there: EC on P-256, or RSA of so many bits."""
    private, public = folder / PRIVATE / f"{device}.pem", folder / CERTIFICATES / f"{device}.x509.pem"
    if private.exists():
        key = load_pem_private_key(private.read_bytes(), None, unsafe_skip_rsa_key_validation=True)  # made here
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        return Signer(key, x509.load_pem_x509_certificate(public.read_bytes()))
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{device} releasekey")])
    begun = datetime(2024, 1, 1, tzinfo=UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number()).not_valid_before(begun)
    built = built.not_valid_after(begun + timedelta(days=10_000))
    built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    certificate = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False).sign(
        key, SHA256()
    )
    replace(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    replace(public, certificate.public_bytes(Encoding.PEM))
    return Signer(key, certificate)


def release(target: Path, keys: Path, devices: Sequence[Device], *, full_bytes: int, rsa_bits: int = 0) -> None:
    """Writes a release below `target`: of each device a full OTA of about so many bytes, a tenth of it the incremental
    from its old build, a factory image, channel lines and changelogs; checksums beside packages."""
    for device in devices:
        by = signer(keys, device.name, rsa_bits=rsa_bits)
        current, old = device.current, device.old
        where = target / "ota" / device.name / current.android
        packages = [ota(where, device.name, current, by, full_bytes)]
        if old and device.incremental:
            packages.append(ota(where, device.name, current, by, full_bytes // 10, base=old))
        packages.append(factory(target / "factory" / device.name, device.name, device.factory or current, full_bytes))
        for package in packages:
            checksum(package)
        lines = dict.fromkeys(CHANNELS, current) | {"factory": device.factory or current}
        for channel, build in (lines | ({"oldstable": old} if old else {})).items():
            replace(target / "ota" / device.name / f"{device.name}-{channel}", build.line)
        for channel in CHANNELS:
            changes = f"<h2>{current.number}</h2><ul><li>Security fixes</li></ul>\n"
            replace(target / "ota" / device.name / f"{device.name}-{channel}-changelog.html", changes)


def following(site: Path) -> Path:
    """The release that follows on the sample's archive, of two devices, one without an incremental; made once, as
    signatures come out another each time. site: the folder of the site's files, which gets the certificates."""
    target = site.parent / NEXT.number
    if not target.exists():
        devices = [Device("panther", NEXT, CURRENT), Device("FP5", NEXT, CURRENT, incremental=False)]
        with TemporaryDirectory(dir=site.parent) as scratch:
            release(Path(scratch) / "release", site, devices, full_bytes=FOLLOWING_BYTES)
            (Path(scratch) / "release").rename(target)
    return target


def ota(where: Path, device: str, build: Build, by: Signer, size: int, *, base: Build | None = None) -> Path:
    """Writes one OTA package into a folder, its payload of about so many bytes."""
    path = unsigned(where, device, build, by.certificate, size, base=base)
    sign(path, by)
    return path


def unsigned(
    where: Path, device: str, build: Build, certificate: x509.Certificate, size: int, *, base: Build | None = None
) -> Path:
    """The same without its signature. certificate: of who will sign it."""
    part = f"incremental-{base.number}" if base else "ota_update"
    path = where / f"{device}-{part}-{build.number}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = {
        METADATA: len(_metadata(device, build, base, {})),
        "apex_info.pb": 500,
        "care_map.pb": 600,
        PAYLOAD: max(size, 24 + MANIFEST + METADATA_SIGNATURE + 1),
        PROPERTIES: len(_properties(b"", b"", max(size, 24 + MANIFEST + METADATA_SIGNATURE + 1))),
    }
    offsets, at = {}, 0
    for name, length in sizes.items():
        offsets[name] = (at + 30 + len(name), length)
        at = sum(offsets[name])
    with zipfile.ZipFile(path, "w") as package:
        _add(package, METADATA, [_metadata(device, build, base, offsets)], build)
        for name in ("apex_info.pb", "care_map.pb"):
            _add(package, name, _noise(f"{device}-{build.number}-{name}", sizes[name]), build)
        hashes = _payload(package, f"{device}-{part}-{build.number}", sizes[PAYLOAD], build)
        _add(package, PROPERTIES, [_properties(*hashes, sizes[PAYLOAD])], build)
        _add(package, "META-INF/com/android/otacert", [certificate.public_bytes(Encoding.PEM)], build)
    return path


def factory(where: Path, device: str, build: Build, size: int) -> Path:
    """Writes a factory image below a device's folder."""
    folder = f"{device}-factory-{build.number}"
    path = where / build.android / f"{folder}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(f"{folder}/flash-all.sh", "#!/bin/sh\nfastboot flashing unlock\n" * 20)
        _add(package, f"{folder}/image-{device}-{build.number}.zip", _noise(folder, size), build)
    return path


def checksum(package: Path) -> None:
    """Writes the checksum beside a package."""
    replace(package.with_name(f"{package.name}.sha256sum"), f"{sha256(package)}  {package.name}\n")


def sign(package: Path, by: Signer) -> None:
    """Signs a package as a whole, as SignApk does; what it was signed with before is gone."""
    digest = hashlib.sha256()
    for block in to_be_signed(package):
        digest.update(block)
    enclose(package, signed_data(digest.digest(), by))


def to_be_signed(package: Path) -> Iterator[bytes]:
    """All of a zip but its comment and that one's length."""
    left = _signed_bytes(package)
    with package.open("rb") as file:
        while left:
            yield (block := file.read(min(NOISE, left)))
            left -= len(block)


def enclose(package: Path, block: bytes) -> None:
    """Puts a SignedData over what `to_be_signed` gives into the zip's comment, with message and footer."""
    message = b"signed by SignApk\0"
    size = len(message) + len(block) + 6
    end = _signed_bytes(package)
    with package.open("r+b") as file:
        file.seek(end)
        file.write(struct.pack("<H", size) + message + block + struct.pack("<3H", len(block) + 6, 0xFFFF, size))
        file.truncate()


def _signed_bytes(package: Path) -> int:
    with zipfile.ZipFile(package) as zipped:
        return package.stat().st_size - len(zipped.comment) - 2


def signed_data(digest: bytes, by: Signer) -> bytes:
    """CMS SignedData over what has that SHA-256: detached, without signed attributes, the certificate enclosed."""
    sha256 = der(0x30, bytes.fromhex("0609608648016503040201") + der(5, b""))
    if isinstance(by.key, rsa.RSAPrivateKey):
        signature = by.key.sign(digest, padding.PKCS1v15(), Prehashed(SHA256()))
        algorithm = der(0x30, bytes.fromhex("06092a864886f70d010101") + der(5, b""))
    else:
        signature = by.key.sign(digest, ec.ECDSA(Prehashed(SHA256())))
        algorithm = der(0x30, bytes.fromhex("06082a8648ce3d040302"))
    serial = by.certificate.serial_number
    name = by.certificate.issuer.public_bytes() + der(2, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
    signer_ = der(0x30, b"\2\1\1" + der(0x30, name) + sha256 + algorithm + der(4, signature))
    content = der(0x30, bytes.fromhex("06092a864886f70d010701"))
    certificates = der(0xA0, by.certificate.public_bytes(Encoding.DER))
    signed = der(0x30, b"\2\1\1" + der(0x31, sha256) + content + certificates + der(0x31, signer_))
    return der(0x30, bytes.fromhex("06092a864886f70d010702") + der(0xA0, signed))


def der(tag: int, content: bytes) -> bytes:
    """A value of ASN.1."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def _metadata(device: str, build: Build, base: Build | None, at: dict[str, tuple[int, int]]) -> bytes:
    parts = {name.rpartition("/")[2]: place for name, place in at.items()}
    order = (PAYLOAD, PROPERTIES, "apex_info.pb", "care_map.pb", "metadata")
    listed = [f"{name}:{parts[name][0]}:{parts[name][1]}" for name in order if parts]
    head = f"payload_metadata.bin:{parts[PAYLOAD][0]}:{24 + MANIFEST + METADATA_SIGNATURE}" if parts else ""
    facts = {
        "ota-property-files": ",".join([head, *listed]).ljust(LISTED_BYTES),
        "ota-required-cache": "0",
        "ota-streaming-property-files": ",".join(listed).ljust(LISTED_BYTES),
        "ota-type": "AB",
        "post-build": fingerprint(device, build),
        "post-build-incremental": build.number,
        "post-sdk-level": "36",
        "post-security-patch-level": f"{datetime.fromtimestamp(build.timestamp, UTC):%Y-%m}-05",
        "post-timestamp": str(build.timestamp),
        "pre-device": device,
    }
    if base:
        facts |= {"pre-build": fingerprint(device, base), "pre-build-incremental": base.number}
    return "".join(f"{key}={value}\n" for key, value in sorted(facts.items())).encode()


def fingerprint(device: str, build: Build) -> str:
    """A build's name as phones bear it."""
    return f"google/{device}/{device}:{build.android}/BP4A.260705.002/{build.number}:user/release-keys"


def _payload(package: zipfile.ZipFile, seed: str, size: int, build: Build) -> tuple[bytes, bytes]:
    """Writes it; returns the SHA-256 of all of it and of its header and manifest."""
    whole = hashlib.sha256()
    head = struct.pack(">4sQQL", b"CrAU", 2, MANIFEST, METADATA_SIGNATURE)
    head += b"".join(_noise(f"{seed}-manifest", MANIFEST))

    def blocks() -> Iterator[bytes]:
        for block in (head, *_noise(f"{seed}-signature", METADATA_SIGNATURE)):
            whole.update(block)
            yield block
        for block in _noise(seed, size - len(head) - METADATA_SIGNATURE):
            whole.update(block)
            yield block

    _add(package, PAYLOAD, blocks(), build, size)
    return whole.digest(), hashlib.sha256(head).digest()


def _properties(whole: bytes, metadata: bytes, size: int) -> bytes:
    hashes = [base64.b64encode(one.rjust(32, b"\0")).decode() for one in (whole, metadata)]
    facts = (
        f"FILE_HASH={hashes[0]}",
        f"FILE_SIZE={size}",
        f"METADATA_HASH={hashes[1]}",
        f"METADATA_SIZE={24 + MANIFEST}",
    )
    return "".join(f"{line}\n" for line in facts).encode()


def _add(
    package: zipfile.ZipFile, name: str, blocks: Sequence[bytes] | Iterator[bytes], build: Build, size: int = 0
) -> None:
    """A stored member."""
    info = zipfile.ZipInfo(name, datetime.fromtimestamp(build.timestamp, UTC).timetuple()[:6])
    info.file_size = size
    with package.open(info, "w") as member:
        for block in blocks:
            member.write(block)


def _noise(seed: str, size: int) -> Iterator[bytes]:
    """Bytes that do not shrink, the same for the same seed; no two blocks are alike."""
    block = bytearray(random.Random(seed).randbytes(min(size, NOISE)))  # noqa: S311
    for at in range(0, size, NOISE):
        block[:8] = at.to_bytes(8, "big")[: len(block[:8])]
        yield bytes(block[: size - at])
