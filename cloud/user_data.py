"""What a host is told at its first boot, and the host key that is made for it before it exists. Pure but for chance.

The private half lives in the memory of the run that made it and in the provider's metadata until first contact; only
the public half is ever written here (to the lock).
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inventories.admins import Admin


@dataclass(frozen=True)
class HostKey:
    """An SSH host key for the time until first contact."""

    public: str
    """`ssh-ed25519 AAAA...`, without comment."""
    private: str = field(repr=False)
    """In OpenSSH's format."""


def host_key() -> HostKey:
    """A fresh one."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return HostKey(public.decode(), private.decode())


def cloud_config(name: str, domain: str, admins: Sequence[Admin], key: HostKey) -> str:
    """The host's name, its admins' accounts, its first host key, and nothing else. JSON is YAML."""
    config = {
        "hostname": name,
        "fqdn": f"{name}.{domain}",
        "users": [_user(admin) for admin in admins],
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": key.private, "ed25519_public": key.public},
    }
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def encode(text: str) -> str:
    """As the API takes user data."""
    return base64.b64encode(text.encode()).decode()


def _user(admin: Admin) -> dict[str, object]:
    user: dict[str, object] = {
        "name": admin.name,
        "gecos": admin.full_name,
        "shell": "/bin/bash",
        "lock_passwd": True,
        "ssh_authorized_keys": list(admin.ssh_keys),
    }
    if admin.sudo:
        user["sudo"] = "ALL=(ALL) NOPASSWD:ALL"
    return user
