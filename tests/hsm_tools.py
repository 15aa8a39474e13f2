"""Yubico's own tools, and OpenSC's and OpenSSL's over Yubico's PKCS#11 module, all of Debian 13, on this machine."""

import os
import subprocess
from pathlib import Path

from lab import tools
from lab.signing.building import PROVIDER
from tests.hsm import DEFAULT_PASSWORD

PACKAGES = ("yubihsm-shell", "yubihsm-wrap", "yubihsm-pkcs11", "opensc", "pkcs11-provider", "openssl")
PIN = f"0001{DEFAULT_PASSWORD}"
"""Four digits of the authentication key's id, and its password."""
TIMEOUT_S = 300


class Tools:
    """They work in a folder, where files that they are given lie, with the device at a URL."""

    def __init__(self, folder: Path, url: str) -> None:
        self.root = tools.root_with("yubihsm", PACKAGES)
        self.folder, self.url = folder, url
        libraries = self.root / tools.LIBRARIES
        self._module = libraries / "pkcs11/yubihsm_pkcs11.so"
        provider = libraries / "ossl-modules/pkcs11.so"
        (folder / "pkcs11.conf").write_text(f"connector = {url}\n")
        (folder / "openssl.cnf").write_text(PROVIDER.format(provider=provider, module=self._module, pin=PIN))
        (folder / "password").write_text(DEFAULT_PASSWORD)

    def run(self, program: str, *words: str, ok: bool | None = True) -> str:
        """What it says. ok: how it has to end, if that is known."""
        with_provider = "openssl.cnf" if program == "openssl" else os.devnull
        done = subprocess.run(
            [*tools.words(self.root, f"usr/bin/{program}"), *words],
            cwd=self.folder,
            env=os.environ | {"YUBIHSM_PKCS11_CONF": "pkcs11.conf", "OPENSSL_CONF": with_provider, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ok is None or (done.returncode == 0) is ok, done.stdout
        return done.stdout

    def shell(self, action: str, *words: str, password: str = "password", ok: bool | None = True) -> str:
        """yubihsm-shell, as the default key. password: the file that it is in."""
        return self.run("yubihsm-shell", "-C", self.url, "-p", f"file:{password}", "-a", action, *words, ok=ok)

    def signed(self, action: str, key: int, algorithm: str, message: bytes) -> bytes:
        """By yubihsm-shell."""
        (self.folder / "message").write_bytes(message)
        files = ("--in", "message", "--out", "signature", "--outformat", "binary")
        (self.folder / "signature").unlink(missing_ok=True)
        self.shell(action, "-i", str(key), "-A", algorithm, *files)
        return (self.folder / "signature").read_bytes()

    def pkcs11(self, *words: str) -> str:
        return self.run("pkcs11-tool", "--module", str(self._module), "--login", "--pin", PIN, *words)
