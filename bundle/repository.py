"""A flat apt repository of a folder's packages: `Packages` and a signed `Release`, the same for the same packages.

Flat repositories are in sources.list(5), the fields at wiki.debian.org/DebianRepository/Format. Written here, as
apt-ftparchive writes times, and whatever else it finds in the folder.
"""

import hashlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bundle.apt import ARCHITECTURE, AptError
from bundle.lock import Package
from bundle.openpgp import armored
from inventories.files import sha256

PACKAGES, RELEASE, SIGNATURE = "Packages", "Release", "Release.gpg"


def write(folder: Path, packages: Sequence[Package], label: str, when: int, sign: Callable[[bytes], bytes]) -> None:
    """Makes a folder with these packages a repository. when: Unix seconds. Raises AptError for what is no package."""
    index = "\n".join(_stanza(folder / one.file, one) for one in sorted(packages)).encode()
    (folder / PACKAGES).write_bytes(index)
    release = _release(label, when, index)
    (folder / RELEASE).write_bytes(release)
    (folder / SIGNATURE).write_bytes(armored(sign(release)))


def read(text: str) -> Iterator[Package]:
    """What `Packages` says that is there. Raises ValueError."""
    for stanza in filter(None, text.split("\n\n")):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        try:
            yield Package(*(fields[name] for name in ("Package", "Version", "Architecture", "SHA256")))
        except KeyError as error:
            raise ValueError(f"lacks the field {error}") from None


def _stanza(path: Path, package: Package) -> str:
    done = subprocess.run(["dpkg-deb", "--field", path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AptError(f"{path.name}: {done.stderr.strip()}")
    added = {"Filename": f"./{path.name}", "Size": path.stat().st_size, "SHA256": package.sha256}
    assert sha256(path) == package.sha256
    return done.stdout.rstrip("\n") + "".join(f"\n{name}: {value}" for name, value in added.items()) + "\n"


def _release(label: str, when: int, index: bytes) -> bytes:
    date = datetime.fromtimestamp(when, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    digest = hashlib.sha256(index).hexdigest()
    fields = {"Origin": "Mainstay", "Label": label, "Date": date, "Architectures": ARCHITECTURE}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, "SHA256:", f" {digest} {len(index)} {PACKAGES}", ""]).encode()
