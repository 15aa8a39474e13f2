"""The lock of a site's bundles: which Debian packages a role is deployed from, to the byte.

`bundle.lock` in the site's files is TOML, one table a role, so that a change reads well in a review:

    [signing]
    for = ["chrony", "sudo"]
    packages = [
        "chrony 4.6.1-3+deb13u1 amd64 9d2f...",
    ]

`for` is what was asked for; `packages` are these with all that they need, NAME VERSION ARCHITECTURE SHA256 of the file.
`mainstay bundle lock` writes it. Pure but for reading and writing the one file.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from inventories.errors import InputError
from inventories.files import replace
from inventories.typed import Typed

FILE = "bundle.lock"
LINE = re.compile(r"([a-z0-9][a-z0-9+.-]+) ([0-9][A-Za-z0-9.+:~-]*) ([a-z0-9]+) ([0-9a-f]{64})")
HEADER = "# What hosts without network are deployed from. `mainstay bundle lock` writes this file.\n"


@dataclass(frozen=True, order=True)
class Package:
    """A Debian package as its file."""

    name: str
    version: str
    architecture: str
    sha256: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Raises ValueError."""
        match = LINE.fullmatch(line)
        if not match:
            raise ValueError(f"{line!r} is not NAME VERSION ARCHITECTURE SHA256")
        return cls(*match.groups())

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.architecture} {self.sha256}"

    @property
    def file(self) -> str:
        """Its name in a repository; a version's epoch has a colon, which not every filesystem takes."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def _line(value: str) -> str:
    return str(Package.parse(value))


class Locked(Typed):
    """The packages of one role."""

    wanted: tuple[str, ...] = Field(alias="for")
    lines: tuple[Annotated[str, AfterValidator(_line)], ...] = Field(alias="packages", min_length=1)

    @property
    def packages(self) -> tuple[Package, ...]:
        return tuple(map(Package.parse, self.lines))


def locked(wanted: Iterable[str], packages: Iterable[Package]) -> Locked:
    """Of what was asked for, and what that takes."""
    return Locked.model_validate({"for": sorted(wanted), "packages": [str(one) for one in sorted(packages)]})


Lock = Mapping[str, Locked]
"""By role."""
_ROLES = TypeAdapter(dict[str, Locked])


def read(path: Path) -> dict[str, Locked]:
    """A missing file locks nothing. Raises InputError."""
    try:
        return parse(path, path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "", f"cannot be read: {error}") from error


def parse(path: Path | str, text: str) -> dict[str, Locked]:
    """path is only named in errors. Raises InputError."""
    hint = "`mainstay bundle lock` writes this file: restore it from git, or have it made anew"
    try:
        return _ROLES.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(path, "", f"is not TOML: {error}", hint) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(path, field, first["msg"].removeprefix("Value error, "), hint) from error


def text(lock: Lock) -> str:
    """The content of a file, sorted."""
    return HEADER + "".join(
        f"\n[{role}]\nfor = {json.dumps(one.wanted)}\npackages = [\n"
        + "".join(f"    {json.dumps(line)},\n" for line in one.lines)
        + "]\n"
        for role, one in sorted(lock.items())
    )


def write(path: Path, lock: Lock) -> None:
    """Whole or not at all."""
    replace(path, text(lock))


def differences(before: Iterable[Package], after: Iterable[Package]) -> list[str]:
    """What a new lock changes, a line each package, in words."""
    old, new = ({(one.name, one.architecture): one for one in each} for each in (before, after))
    found = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was is None and now:
            found.append(f"+ {now.name} {now.version}")
        elif was and now is None:
            found.append(f"- {was.name} {was.version}")
        elif was and now and was != now:
            same = " (another file)" if was.version == now.version else ""
            found.append(f"~ {now.name} {was.version} -> {now.version}{same}")
    return found
