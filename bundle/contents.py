"""What lies in a bundle, by name: `making` writes it, `verifying` and the programs of `medium` read it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

MEDIUM = Path(__file__).parent / "medium"
"""Programs that every bundle carries, to be run from it."""
APT, WHEELS, ABOUT = "apt", "wheels", "about"
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
"""Of all files but these two, as sha256sum writes and checks them; signed."""


@dataclass(frozen=True)
class About:
    """What a bundle is of. As a file, lines of NAME='VALUE' that sh reads, too; no value has a quote in it."""

    site: str
    role: str
    hosts: str
    """Names of the hosts that it can be applied on, with blanks between them."""
    inventory: str
    """In the repository."""
    files: str
    """The site's folder in the repository."""
    commit: str
    time: str
    """Of the commit, in Unix seconds: of two bundles the one with the later is the newer."""

    def text(self) -> str:
        return "".join(f"{one.name.upper()}='{getattr(self, one.name)}'\n" for one in fields(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = {}
        for line in text.splitlines():
            name, mark, value = line.partition("='")
            if not mark or not value.endswith("'"):
                raise ValueError(f"{line!r} is not NAME='VALUE'")
            found[name.lower()] = value[:-1]
        names = {one.name for one in fields(cls)}
        if found.keys() != names:
            raise ValueError(f"says {', '.join(sorted(found))}, and not {', '.join(sorted(names))}")
        return cls(**found)


def sums(hashes: dict[str, str]) -> str:
    """The content of SHA256SUMS, by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))


def parse_sums(text: str) -> dict[str, str]:
    """Hash by name. Raises ValueError."""
    found = {}
    for line in text.splitlines():
        digest, mark, name = line.partition("  ")
        if len(digest) != 64 or not mark or not name or name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{line!r} is not a hash and a name")
        found[name] = digest
    return found


def files(folder: Path) -> list[str]:
    """Everything that lies below a folder and is none itself, by its path from there, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
