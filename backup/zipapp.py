"""Programs as one file that Python runs, the agent above all: the same bytes for the same sources, whoever builds it
and when."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
INSTALLED = "/usr/local/lib/mainstay/backup.pyz"
"""Where it lies on hosts."""
SHARED = (
    "__init__.py",
    "entry.py",
    "ledger.py",
    "restic.py",
    "restic_command.py",
    "restic_compare.py",
    "restic_process.py",
    "restic_results.py",
    "restic_s3.py",
    "sizes.py",
)
START = """\
from backup.agent.command import end, main

end(main({version!r}))
"""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)


def sources() -> dict[str, bytes]:
    """What it is made of, by its name in the archive."""
    files = [*(HERE / name for name in SHARED), *sorted((HERE / "agent").glob("*.py"))]
    return {f"backup/{file.relative_to(HERE)}": file.read_bytes() for file in files}


def version() -> str:
    """Of the sources: the first 12 digits of their hash."""
    total = hashlib.sha256()
    for name, content in sorted(sources().items()):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:12]


def zipapp() -> bytes:
    """The agent."""
    return pack({"__main__.py": START.format(version=version()).encode()} | sources())


def pack(files: Mapping[str, bytes]) -> bytes:
    """A program of these files. Stored without compression, whose output depends on zlib's version."""
    out = io.BytesIO()
    out.write(b"#!/usr/bin/python3 -I\n")
    with zipfile.ZipFile(out, "a", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, FIRST_DAY)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return out.getvalue()
