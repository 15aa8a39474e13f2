"""A saved folder of a signing host, and what can be wrong with one."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from roles.signing.tools.saved import ABOUT, BUNDLE, SUMS
from tests.hsm_site import Site, site

WRAPPED, CERTIFICATE = "keys/0x0101-asymmetric-key.yhw", "keys/0x0101.x509.pem"
Spoil = Callable[[Path], None]


@contextmanager
def saved_site(folder: Path) -> Iterator[Site]:
    """As declared, with a log in custody, saved at `medium`."""
    with site(folder) as one:
        one.make()
        one.primary.sign()
        assert one.mainstay("drain").code == 0
        done = one.mainstay("save", str(folder / "medium"))
        assert done.code == 0, done
        assert "2 wrapped keys, 2 certificates" in done.out
        yield one


def resum(folder: Path) -> None:
    """Checksums of what is there now, as of somebody who saved it so."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in paths)
    (folder / SUMS).write_text("".join(lines))


def flipped(folder: Path) -> None:
    path = folder / WRAPPED
    blob = bytearray(path.read_bytes())
    blob[40] = ord("B") if blob[40] != ord("B") else ord("C")
    path.write_bytes(blob)


def lost(folder: Path) -> None:
    (folder / WRAPPED).unlink()


def uncertified(folder: Path) -> None:
    (folder / CERTIFICATE).unlink()


def another(folder: Path) -> None:
    shutil.copy(folder / "keys/0x0102-asymmetric-key.yhw", folder / WRAPPED)


def exchanged(folder: Path) -> None:
    shutil.copy(folder / "keys/0x0102.x509.pem", folder / CERTIFICATE)


def older_log(folder: Path) -> None:
    """As of one commit before."""
    log = folder.parent / "log"
    subprocess.run(["git", "clone", "-q", folder / BUNDLE, log], check=True)
    subprocess.run(["git", "-C", log, "reset", "-q", "--hard", "HEAD~1"], check=True)
    (folder / BUNDLE).unlink()
    subprocess.run(["git", "-C", log, "bundle", "create", "-q", folder / BUNDLE, "HEAD", "--branches"], check=True)


def stale(folder: Path) -> None:
    about = json.loads((folder / ABOUT).read_text())
    about["saved"] = (datetime.now(UTC) - timedelta(days=60)).isoformat()
    (folder / ABOUT).write_text(json.dumps(about))


def undeclared(folder: Path) -> None:
    (folder / "hsm.toml").write_text("[devices]\n")


SPOILT = [
    (flipped, "wrapped keys", "0x0101-asymmetric-key.yhw: is damaged"),
    (lost, "wrapped keys", "releasekey: there is no 0x0101-asymmetric-key.yhw"),
    (uncertified, "certificates", "releasekey: there is no 0x0101.x509.pem"),
    (another, "wrapped keys", "0x0101-asymmetric-key.yhw: holds another object, 0102"),
    (exchanged, "certificate", "releasekey: 0x0101.x509.pem is of another key"),
    (older_log, "log", "entries to"),
    (stale, "age", "stale: saved on"),
    (undeclared, "declaration", "hsm.toml"),
]
