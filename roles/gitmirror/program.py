"""The fetching program as one file that Python runs."""

from pathlib import Path

from backup.zipapp import pack

INSTALLED = "/usr/local/lib/mainstay/gitmirror.pyz"
"""Where it lies on hosts."""
HERE = Path(__file__).parent
START = b"""\
import sys

from roles.gitmirror.fetching.command import main

sys.exit(main(sys.argv[1:]))
"""


def program() -> bytes:
    """The same bytes for the same sources."""
    files = {f"roles/gitmirror/fetching/{one.name}": one.read_bytes() for one in (HERE / "fetching").glob("*.py")}
    packages = dict.fromkeys(("roles/__init__.py", "roles/gitmirror/__init__.py"), b"")
    return pack({"__main__.py": START} | packages | files)
