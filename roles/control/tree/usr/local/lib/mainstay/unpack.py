"""Unpacks the control host's software beside the one in use, tries it, and puts it in its place in one step.

/opt/mainstay is a link to /opt/mainstay-DIGEST; whoever runs from there holds a shared lock on that folder. Killed at
any moment, it leaves the old or the new one in use, and what it left half done goes at its next run.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ARCHIVES = {"packages.tar.gz": "packages", "project.tar.gz": "."}
"""In /var/lib/mainstay/control, and where below the new folder each goes."""
SOURCE, OPT, NAME = Path("/var/lib/mainstay/control"), Path("/opt"), "mainstay"


def digest() -> str:
    """Of what is to be in use, this program among it."""
    total = hashlib.sha256()
    for path in (Path(__file__), *(SOURCE / name for name in ARCHIVES)):
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def unpack(folder: Path) -> None:
    """A whole new folder, or none: it gets its name last."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, where in ARCHIVES.items():
        with tarfile.open(SOURCE / name) as archive:
            archive.extractall(fresh / where, filter="data")
    # Says whether it runs here, and leaves what Python compiled, as nobody can write it there later.
    environment = {"PYTHONPATH": f"{fresh}:{fresh}/packages", "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-s", "-m", "cli.main", "backup", "--help"], env=environment, check=True)
    os.sync()
    fresh.rename(folder)


def use(folder: Path) -> None:
    link = OPT / f".{NAME}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(OPT / NAME)


def remove_others(folder: Path) -> None:
    """All but those that something still runs from."""
    for other in OPT.glob(f"{NAME}-*"):
        if other == folder:
            continue
        gone = other.with_suffix(".gone")
        handle = os.open(other, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other.replace(gone) if other != gone else gone)
        except BlockingIOError:
            print(f"{other} is in use: it goes at the next change or boot")
        finally:
            os.close(handle)


def main() -> None:
    folder = OPT / f"{NAME}-{digest()}"
    if not folder.exists():
        unpack(folder)
    use(folder)
    remove_others(folder)


if __name__ == "__main__":
    main()
