"""An app package that apksigner takes: as little as one can be, unsigned.

Its manifest is binary XML (frameworks/base, libs/androidfw/include/androidfw/ResourceTypes.h): a pool of strings, then
the beginning and the end of one element.
"""

import struct
import zipfile
from pathlib import Path

XML, STRINGS, START, END = 0x0003, 0x0001, 0x0102, 0x0103
"""Types of chunks."""
UTF8 = 1 << 8
NONE = 0xFFFFFFFF
DATE = (2009, 1, 1, 0, 0, 0)


def unsigned(path: Path) -> Path:
    """Writes it."""
    with zipfile.ZipFile(path, "w") as package:
        for name, content in (("AndroidManifest.xml", manifest()), ("classes.dex", b"dex\n035\0")):
            package.writestr(zipfile.ZipInfo(name, DATE), content)
    return path


def manifest() -> bytes:
    """`<manifest/>`."""
    name = b"manifest"
    text = bytes([len(name), len(name)]) + name + b"\0"
    text = text.ljust((len(text) + 3) // 4 * 4, b"\0")
    strings = _chunk(STRINGS, struct.pack("<5L", 1, 0, UTF8, 28 + 4, 0), struct.pack("<L", 0) + text)
    line = struct.pack("<2L", 1, NONE)
    begin = _chunk(START, line, struct.pack("<2L6H", NONE, 0, 20, 20, 0, 0, 0, 0))
    end = _chunk(END, line, struct.pack("<2L", NONE, 0))
    return _chunk(XML, b"", strings + begin + end)


def _chunk(kind: int, header: bytes, body: bytes) -> bytes:
    return struct.pack("<2HL", kind, 8 + len(header), 8 + len(header) + len(body)) + header + body
