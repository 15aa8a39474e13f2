"""on_disk.py as it lies on a release server: one file that Python runs, with what it imports."""

from pathlib import PurePath

from backup.zipapp import pack
from inventories.inventory import CLONE

MODULES = ("roles/common/turns.py", "roles/release/tools/audit/on_disk.py")
START = b"""\
import sys

from roles.release.tools.audit.on_disk import main

sys.exit(main(sys.argv[1:]))
"""


def reader() -> bytes:
    """The same bytes for the same sources."""
    packages = {f"{folder}/__init__.py": b"" for name in MODULES for folder in PurePath(name).parents if folder.name}
    return pack({"__main__.py": START} | packages | {name: (CLONE / name).read_bytes() for name in MODULES})
