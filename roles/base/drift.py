"""What a host is to notice by itself: what a deploy left it as, which its own daily look compares it with.

At its end a deploy tells the host what is declared, by name; `drifting/`, which runs there, looks what that is now and
remembers it, then looks again each day. No admin, and nobody else's rights, are needed for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backup.zipapp import pack
from inventories.inventory import LoadedSite
from inventories.roles import roles_of
from roles.base import exporter
from roles.base.firewall import listens_of, places
from roles.common import Listen, Unit
from roles.common.program import source

INSTALLED = "/usr/local/lib/mainstay/drift.pyz"
"""Where it lies on hosts."""
STATUS = "/var/lib/mainstay/drift.json"
"""What it found, for whoever reads logs."""
UNIT = Unit("mainstay-drift.timer", ("/etc/systemd/system/mainstay-drift.service",))
HERE = Path(__file__).parent
START = b"""\
import sys

from roles.base.drifting.command import main

sys.exit(main())
"""


def program() -> bytes:
    """The same bytes for the same sources."""
    files = {f"roles/base/drifting/{one.name}": one.read_bytes() for one in (HERE / "drifting").glob("*.py")}
    folders = ("roles", "roles/base", "roles/common", "roles/common/on_host")
    packages = {f"{folder}/__init__.py": b"" for folder in folders}
    return pack({"__main__.py": START, "roles/common/on_host/look.py": source("look")} | packages | files)


def listens(site: LoadedSite, name: str) -> list[Listen]:
    """All that may listen on a host."""
    return [*listens_of(roles_of(site.fleet.hosts[name])), *exporter.listens(site)]


def noted(declared: Mapping[str, list[str]], data: Any) -> dict[str, object]:
    """What is declared, as the host is told at the end of a deploy. data: pyinfra's, of the host."""
    site: LoadedSite | None = data.get("site")
    name: str = data.get("host_name") or ""
    known = site.fleet.hosts if site else {}
    may_listen = places(listens(site, name)) if site and name in known else ()
    return {**declared, "listens": [f"{protocol} {address}:{port}" for protocol, address, port in sorted(may_listen)]}
