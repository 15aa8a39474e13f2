"""A sealed envelope as people have it: what is on its paper, and what they type of it."""

import base64
import hashlib
import html
import re
from pathlib import Path

import pyrage
import pytest

from backup import custody
from backup.envelope.key import ARMOR
from inventories.secrets import CONTROL
from tests.people_site import INVENTORY, Place

WITH_COPY = """
[hosts.vault-1]
role = "vault"
plan = "p"
region = "ams"
dns = ["vault.example.org"]
volumes.repositories = { size_gb = 40, mount = "/srv/vault" }
[hosts.control-1]
role = "control"
plan = "p"
region = "ams"
volumes.state = { size_gb = 10, mount = "/srv/control" }
[backup.copy]
endpoint = "https://s3.example.net"
bucket = "backups"
region = "eu"
[settings.control.mirrors]
mainstay = "https://git.example.com/mainstay.git"
"""
COPY = {"copy_access_key": "AKIAEXAMPLE", "copy_secret_key": "it's/a+secret"}
TYPED = re.compile(r'<pre class="typed[^"]*" data-kind="([A-Z0-9-]+)">(.*?)</pre>', re.DOTALL)
RUN = re.compile(r'<pre class="run" data-part="(\w+)">(.*?)</pre>', re.DOTALL)


def sheets(page: Path) -> dict[str, str]:
    """The lines of each sheet of a page, by what it is."""
    return {kind: html.unescape(text) for kind, text in TYPED.findall(page.read_text())}


def commands(page: Path) -> dict[str, str]:
    """The commands that a page has, by what they are for."""
    return {part: html.unescape(text) for part, text in RUN.findall(page.read_text())}


def with_copy(place: Place) -> None:
    """Gives a site a vault, a control host and a second copy."""
    place.inventory.write_text(INVENTORY + WITH_COPY)
    custody.make(place.site)
    place.put(CONTROL, **COPY)


def quick_to_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter's passphrase takes no time, where that is not what is looked at: age takes a second for each."""

    def encrypt(plain: bytes, passphrase: str) -> bytes:
        return hashlib.sha256(passphrase.encode()).digest() + plain

    def decrypt(locked: bytes, passphrase: str) -> bytes:
        lines = locked.splitlines()
        given = base64.b64decode(b"".join(lines[1:-1])) if lines[0] == ARMOR[0].encode() else locked
        if given[:32] != hashlib.sha256(passphrase.encode()).digest():
            raise pyrage.DecryptError("another one")
        return given[32:]

    monkeypatch.setattr(pyrage.passphrase, "encrypt", encrypt)
    monkeypatch.setattr(pyrage.passphrase, "decrypt", decrypt)
