"""A site of a lab that is a signing host alone, beside the lab's own, as in production."""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from inventories.files import replace
from lab import services
from lab.engine import LabConfig
from lab.sites import derive
from roles.signing.tools.places import FILE

NAME, HOST = "signing", "signing-1"
VM = "voc-c-2c-4gb-50s-amd"
"""A plan: a virtual machine in the lab."""
SERIALS = {"primary": 999_000_001, "backup": 999_000_002}
"""Of the simulated devices, as `hsm.toml` declares them."""
DECLARATION = Path(__file__).parent / FILE
PASSWORDS = "passwords.json"
FACTORY = "password"
"""Of the key that devices leave the factory with."""


def inventory(lab: LabConfig, *, plan: str = VM, declared: bool = True) -> Path:
    """Declares it, below the lab's folder; what is there of it stays. plan: of the host. declared: with hsm.toml."""
    folder = lab.root / NAME
    files = folder / "site"
    if not files.exists():
        shutil.copytree(lab.root / "site", files, ignore=shutil.ignore_patterns("lock.json"))
        if declared:
            shutil.copy(DECLARATION, files)

    def change(document: Any) -> None:
        gateway, cache = str(lab.gateway4), services.cache_url(lab).rsplit(":", 1)[1].strip("/")
        for part in ("drill", "backup", "vpcs", "firewalls"):
            document.pop(part)
        document["site"] |= {"name": NAME, "domain": f"{NAME}.example.org", "files": str(files)}
        document["hosts"] = {HOST: {"role": "signing", "plan": plan, "region": "ams"}}
        allowed = [
            {"user": "_apt", "address": gateway, "port": int(cache)},
            {"user": "systemd-resolve", "address": gateway, "port": 53, "protocol": "udp"},
            {"user": "systemd-resolve", "address": gateway, "port": 53},
        ]
        document["settings"] = {
            "base": {"time_servers": []},
            "signing": {"hsms": [f"{one:010}" for one in SERIALS.values()], "destinations": allowed},
        }

    return derive(lab, folder, change)


def passwords(folder: Path) -> dict[str, str]:
    """Of authentication keys, and the wrap key in hexadecimal, made once in a folder; of devices from the factory."""
    file = folder / PASSWORDS
    if not file.exists():
        made = {name: secrets.token_urlsafe(18) for name in ("admin", "audit", "signing")}
        replace(file, json.dumps(made | {"main": secrets.token_hex(32)}), 0o600)
    found: dict[str, str] = json.loads(file.read_text())
    return found | {"factory": FACTORY}
