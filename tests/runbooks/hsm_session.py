"""What `signing-session` opens on the signing host, on this machine: its programs, variables and directory, with
simulated devices; and somebody at its terminal who knows the passwords."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloud.converge import REPOSITORY
from lab import tools
from tests.hsm_site import PASSWORDS, Site
from tests.hsm_tools import PACKAGES
from tests.runbooks.reader import follow_at_a_terminal

PROGRAMS = ("yubihsm-shell", "openssl")
MODULE = "pkcs11/yubihsm_pkcs11.so"
PROVIDERS = "ossl-modules"
SIGN = """\
#!/bin/sh -e
export PKCS11_PROVIDER_MODULE={module}
openssl dgst -sha256 -provider pkcs11 -provider default -sign "{uri}" -out "$1.sig" "$1"
"""
"""What signs one package, in the place of the users' toolkit: over PKCS#11, as theirs does."""


class Session:
    """folder: for what is its own."""

    def __init__(self, site: Site, folder: Path) -> None:
        root = tools.root_with("yubihsm", PACKAGES)
        self.site, self.home, self._programs = site, folder / "home", folder / "bin"
        self.module = root / tools.LIBRARIES / MODULE
        self.sign = folder / "sign-one"
        self.home.mkdir(mode=0o700)
        self._programs.mkdir()
        for name in PROGRAMS:
            words = shlex.join(tools.words(root, f"usr/bin/{name}"))
            modules = root / tools.LIBRARIES / PROVIDERS
            _program(self._programs / name, f'#!/bin/sh\nOPENSSL_MODULES={modules} exec {words} "$@"\n')
        _program(self.sign, SIGN.format(module=self.module, uri=self.uri(0x0101)))
        self.passwords = dict(PASSWORDS)
        (folder / "pkcs11.conf").write_text(f"connector = {site.primary.url}\n")
        self._environment = os.environ | {
            "PATH": f"{self._programs}:{REPOSITORY / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "MAINSTAY_HSM": str(site.file),
            "YUBIHSM_PKCS11_CONF": str(folder / "pkcs11.conf"),
            "OPENSSL_CONF": os.devnull,
            "SIGNING_SESSION": "of a test",
        }

    def uri(self, key: int) -> str:
        """Of a key, for OpenSSL; its PIN is in the session's directory."""
        return f"pkcs11:id=%{key >> 8:02x}%{key & 0xFF:02x};type=private;pin-source=file:{self.home}/pin"

    def follow(self, page: str, /, *titles: str, made_up: Mapping[str, str] | None = None, **names: Any) -> str:
        """made_up: passwords that are new while the page is followed, by their keys; and known afterwards."""
        fresh = made_up or {}
        told = self.passwords | {"0x0001": PASSWORDS["factory"]}
        answers = {"Make these changes? [y/N]: ": ["y"], "Enter password: ": [told["admin"]]}
        for name, password in told.items():
            later = fresh.get(name, password)
            answers[f"Password of {name}: "] = [password, later]
            answers[f"Password of {name}, again: "] = answers[f"Password of {name}.new: "] = [later]
            answers[f"Password of {name}.new, again: "] = [later]
        place = {"env": self._environment, "cwd": self.home, "umask": 0o077}
        seen = follow_at_a_terminal(place, answers, page, *titles, **names)
        self.passwords |= fresh
        for name, password in fresh.items():
            (self.site.folder / name).write_text(f"{password}\n")
        assert not [one for one in self.passwords.values() if one != PASSWORDS["factory"] and one in seen]
        return seen

    def must_be_well(self) -> None:
        """As those see it who were not there."""
        for command in ("audit", "drain", "plan", "drain", "verify"):
            done = self.site.mainstay(command)
            assert done.code == 0, f"{command}: {done}"


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
