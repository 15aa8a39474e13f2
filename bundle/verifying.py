"""Is a bundle what was made, all of it and no more, and made by the site?"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from bundle import contents, lock, openpgp, repository, source
from bundle.contents import About
from inventories.errors import InputError

Hear = Callable[[int], None]
"""Told of bytes that were read."""
BLOCK = 1 << 20


class Wrong(IntEnum):
    """What can be wrong, and the exit code that says so. Of several the first one counts."""

    UNSIGNED = 60
    SIGNER = 61
    """Signed by a key that is not known here."""
    CHANGED = 62
    MISSING = 63
    ADDED = 64
    LOCK = 65
    """What it has is not what it says that was locked."""
    OLDER = 66
    """Than what the host has; said by `apply` alone."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    wrong: Wrong
    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class Verdict:
    """What was found."""

    about: About | None
    """None where it does not say what it is."""
    signer: str
    """Fingerprint of the known key that signed it, else empty."""
    problems: Sequence[Problem]

    @property
    def code(self) -> int:
        """Exit code."""
        return min((one.wrong for one in self.problems), default=0)


def verify(folder: Path, keys: Sequence[openpgp.Key], hear: Hear = lambda _: None) -> Verdict:
    """Reads all of it once. Raises OSError."""
    signer, problems = _signer(folder, keys)
    about, found = None, list(_files(folder, hear))
    if not found:
        try:
            about = About.parse((folder / contents.ABOUT).read_text())
            found = [*_lock(folder, about)]
        except (OSError, ValueError) as error:
            found = [Problem(Wrong.CHANGED, contents.ABOUT, str(error))]
    return Verdict(about, signer, sorted([*problems, *found], key=lambda one: (one.wrong, one.path)))


def _signer(folder: Path, keys: Sequence[openpgp.Key]) -> tuple[str, list[Problem]]:
    sums, signature = folder / contents.SUMS, folder / contents.SIGNATURE
    if not sums.is_file() or not signature.is_file():
        lacking = contents.SIGNATURE if sums.is_file() else contents.SUMS
        return "", [Problem(Wrong.UNSIGNED, lacking, "is not there, so nothing says who made this bundle")]
    try:
        return openpgp.verify(keys, signature.read_bytes(), sums.read_bytes()).fingerprint, []
    except openpgp.UnknownSigner as error:
        return "", [Problem(Wrong.SIGNER, contents.SIGNATURE, str(error))]
    except openpgp.NotSignedBy as error:
        return "", [Problem(Wrong.CHANGED, contents.SUMS, f"it or its signature was changed: the signature {error}")]


def _files(folder: Path, hear: Hear) -> Iterator[Problem]:
    try:
        listed = contents.parse_sums((folder / contents.SUMS).read_text())
    except FileNotFoundError:
        return
    except ValueError as error:
        yield Problem(Wrong.CHANGED, contents.SUMS, str(error))
        return
    there = set(contents.files(folder))
    for name, digest in listed.items():
        path = folder / name
        if name not in there:
            yield Problem(Wrong.MISSING, name, "is missing")
        elif path.is_symlink() or not path.is_file():
            yield Problem(Wrong.CHANGED, name, "is no plain file")
        elif _hash(path, hear) != digest:
            yield Problem(Wrong.CHANGED, name, "has been changed: it is not the file that was signed")
    for name in sorted(there - listed.keys() - {contents.SUMS, contents.SIGNATURE}):
        yield Problem(Wrong.ADDED, name, f"is none of the bundle: {contents.SUMS} does not have it")


def _lock(folder: Path, about: About) -> Iterator[Problem]:
    """A whole bundle that was signed can still have been made of something else than the lock."""
    try:
        locked = lock.parse(lock.FILE, (folder / lock.FILE).read_text())
        packages = set(repository.read((folder / contents.APT / repository.PACKAGES).read_text()))
        with tarfile.open(folder / source.FILE) as tree:
            member = tree.extractfile(f"{about.files}/{lock.FILE}")
            committed = lock.parse(
                f"{source.FILE}: {about.files}/{lock.FILE}", member.read().decode() if member else ""
            )
    except (InputError, OSError, KeyError, ValueError, tarfile.TarError) as error:
        yield Problem(Wrong.LOCK, lock.FILE, f"cannot be compared: {error}")
        return
    mine = locked.get(about.role)
    if mine is None or mine != committed.get(about.role):
        yield Problem(Wrong.LOCK, lock.FILE, f"is not that of the commit {about.commit[:12]} for {about.role!r}")
        return
    for line in lock.differences(mine.packages, packages):
        yield Problem(Wrong.LOCK, lock.FILE, f"does not fit the repository, which is: {line}")


def _hash(path: Path, hear: Hear) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
            hear(len(block))
    return total.hexdigest()
