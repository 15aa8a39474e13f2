"""The payload of an OTA package and what `payload_properties.txt` says of it. Format: AOSP's update_engine, version 2.

It begins with `CrAU`, the format's version (64 bits), the size of the manifest (64), that of the signature of both
(32), all big-endian; then manifest, that signature, and the data. FILE_HASH and METADATA_HASH are SHA-256 in base64, of
all of it, and of header and manifest, whose sizes are FILE_SIZE and METADATA_SIZE.
"""

import base64
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from roles.release.tools.problems import Damaged, shown

HEADER = struct.Struct(">4sQQL")
MAGIC, VERSION = b"CrAU", 2
MANIFEST_BYTES, SIGNATURE_BYTES = 256 << 20, 1 << 20


@dataclass(frozen=True)
class Header:
    """Sizes in bytes. metadata: header and manifest; signature: what follows them."""

    metadata: int
    signature: int

    @property
    def total(self) -> int:
        """What a client reads before it decides."""
        return self.metadata + self.signature


def header(data: bytes, size: int) -> Header:
    """Of a payload of that many bytes, by its first ones. Raises Damaged."""
    if len(data) < HEADER.size:
        raise Damaged("payload.bin", f"{len(data)} bytes", f"a header of {HEADER.size}")
    magic, version, manifest, signature = HEADER.unpack(data[: HEADER.size])
    if magic != MAGIC:
        raise Damaged("payload.bin", repr(shown(magic)), "CrAU at its begin")
    if version != VERSION:
        raise Damaged("payload.bin", f"version {version}", f"version {VERSION}")
    if not 0 < manifest <= MANIFEST_BYTES or not 0 < signature <= SIGNATURE_BYTES:
        raise Damaged(
            "payload.bin", f"a manifest of {manifest:,} bytes, signed with {signature:,}", "both there, not huge"
        )
    found = Header(HEADER.size + manifest, signature)
    if found.total > size:
        raise Damaged("payload.bin", f"{size:,} bytes", f"at least {found.total:,}, as its header says")
    return found


def judge(
    properties: Mapping[str, str], size: int, sha256: bytes, head: Header, metadata_sha256: bytes
) -> Iterator[Damaged]:
    """What the properties say that the payload is not."""
    wanted = {
        "FILE_HASH": base64.b64encode(sha256).decode(),
        "FILE_SIZE": str(size),
        "METADATA_HASH": base64.b64encode(metadata_sha256).decode(),
        "METADATA_SIZE": str(head.metadata),
    }
    for key, value in wanted.items():
        if properties.get(key) != value:
            yield Damaged(f"payload_properties.txt {key}", properties.get(key) or "none", f"{value}, as payload.bin is")
