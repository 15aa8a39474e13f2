"""A flat apt repository of a folder's packages: `Packages` and a signed `Release`, the same for the same packages.

Flat repositories are in sources.list(5), the fields at wiki.debian.org/DebianRepository/Format. Written here, as
apt-ftparchive writes times, and whatever else it finds in the folder.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bundle.apt import ARCHITECTURE
from bundle.lock import Package
from bundle.openpgp import armored
from bundle.programs import ProgramError

PACKAGES, RELEASE, SIGNATURE = "Packages", "Release", "Release.gpg"


def write(folder: Path, packages: Sequence[Package], label: str, when: int, sign: Callable[[bytes], bytes]) -> None:
    """Makes a folder with these packages a repository. when: Unix seconds. Raises ProgramError for no package."""
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
    added = {"Filename": f"./{path.name}", "Size": path.stat().st_size, "SHA256": package.sha256}
    return control(path).rstrip("\n") + "".join(f"\n{name}: {value}" for name, value in added.items()) + "\n"


def control(path: Path) -> str:
    """What a package says of itself: deb(5), an ar archive with a tar of control files in it. Raises ProgramError."""
    with path.open("rb") as file:
        file.seek(len("!<arch>\n"))
        while header := file.read(60):
            size = int(header[48:58])
            if header.startswith(b"control.tar"):
                with tarfile.open(fileobj=io.BytesIO(file.read(size))) as files:
                    found = files.extractfile("./control")
                    assert found, "deb-control(5)"
                    return found.read().decode()
            file.seek(size + size % 2, os.SEEK_CUR)
    raise ProgramError(f"{path.name}: is no package")


def _release(label: str, when: int, index: bytes) -> bytes:
    date = datetime.fromtimestamp(when, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    digest = hashlib.sha256(index).hexdigest()
    fields = {"Origin": "Mainstay", "Label": label, "Date": date, "Architectures": ARCHITECTURE}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, "SHA256:", f" {digest} {len(index)} {PACKAGES}", ""]).encode()
