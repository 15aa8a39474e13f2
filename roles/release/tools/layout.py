"""What lies in a release's folder, by name alone: packages, channel lines, and what does not belong there.

The layout is the archive's, see roles/release/archive.py, without its `public/`.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from roles.release.archive import BASE, CHANNELS, FACTORY, SHA256SUM
from roles.release.tools.problems import Damaged, Problem, shown

Kind = Literal["full", "incremental", "factory"]
DEVICE = re.compile(r"[A-Za-z0-9_]{1,64}")
ANDROID = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")
BUILD = re.compile(r"[A-Za-z0-9._]{1,64}")
PACKAGES: dict[Kind, re.Pattern[str]] = {
    "full": re.compile(rf"([^-]+)-ota_update-({BUILD.pattern})\.zip"),
    "incremental": re.compile(rf"([^-]+)-incremental-(?P<base>{BUILD.pattern})-({BUILD.pattern})\.zip"),
    "factory": re.compile(rf"([^-]+)-factory-({BUILD.pattern})\.zip"),
}
CHANGELOG = "-changelog.html"
ENTRIES = 100_000


@dataclass(frozen=True)
class Named:
    """A package by its path, relative to the release's folder. base: of an incremental."""

    path: str
    kind: Kind
    device: str
    android: str
    build: str
    base: str = ""


@dataclass
class Laid:
    """What was found. lines, changelogs: paths by device and channel; sums: packages that have one."""

    packages: list[Named] = field(default_factory=list)
    lines: dict[tuple[str, str], str] = field(default_factory=dict)
    changelogs: dict[tuple[str, str], str] = field(default_factory=dict)
    sums: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def lay(folder: Path) -> Laid:
    """Goes through a folder, following no link and opening no file."""
    found = Laid()
    for number, (path, mode) in enumerate(_walk(folder, "", found.problems)):
        if number == ENTRIES:
            found.problems.append(Problem(".", "names", f"more than {ENTRIES:,} of them", "a release"))
            break
        try:
            if not stat.S_ISREG(mode):
                raise Damaged("file", _kind(mode), "files and folders")
            _place(found, path)
        except Damaged as error:
            found.problems.append(error.of(path))
    there = {one.path for one in found.packages}
    for path in sorted(there ^ found.sums):
        if path in there:
            problem = Problem(path, "checksum", f"no {Path(path).name}{SHA256SUM}", "one beside each package")
        else:
            problem = Problem(f"{path}{SHA256SUM}", "name", "a checksum alone", f"{Path(path).name} beside it")
        found.problems.append(problem)
    if not there and not found.problems:
        found.problems.append(Problem(".", "packages", "none", "ota/DEVICE/ANDROID/DEVICE-ota_update-BUILD.zip"))
    return found


def _walk(folder: Path, at: str, problems: list[Problem]) -> Iterator[tuple[str, int]]:
    """All that is no folder, by path and mode, and folders that do not belong there."""
    try:
        with os.scandir(folder / at) as entries:
            some = islice(entries, ENTRIES + 1)  # as many as are one too many
            here = sorted(
                (f"{at}/{one.name}" if at else one.name, one.stat(follow_symlinks=False).st_mode) for one in some
            )
    except OSError as error:
        problems.append(Problem(shown(at or "."), "folder", (error.strerror or "it").lower(), "one that can be read"))
        return
    for path, mode in here:
        if not stat.S_ISDIR(mode):
            yield path, mode
        elif _is_folder(path.split("/")):
            yield from _walk(folder, path, problems)
        else:
            yield path, mode


def _is_folder(parts: list[str]) -> bool:
    """ota, factory, their devices, and below these Android versions."""
    forms = (re.compile("ota|factory"), DEVICE, ANDROID)
    return len(parts) <= len(forms) and all(form.fullmatch(part) for form, part in zip(forms, parts, strict=False))


def _place(found: Laid, path: str) -> None:
    """Puts a file where it belongs. Raises Damaged."""
    parts = path.split("/")
    name = parts[-1]
    if len(parts) == 4 and name.endswith(SHA256SUM):
        found.sums.add(named(path.removesuffix(SHA256SUM)).path)
    elif len(parts) == 4:
        found.packages.append(named(path))
    elif len(parts) == 3 and parts[0] == "ota":
        device, dash, channel = name.removesuffix(CHANGELOG).partition("-")
        if not dash or channel not in CHANNELS:
            raise Damaged("name", shown(name), f"DEVICE-CHANNEL, of {', '.join(CHANNELS)}")
        _same(device, parts[1])
        if not name.endswith(CHANGELOG):
            found.lines[device, channel] = path
        elif channel in (FACTORY, BASE):
            raise Damaged("name", shown(name), f"no changelog of {channel}")
        else:
            found.changelogs[device, channel] = path
    else:
        raise Damaged(
            "name", "a file that does not belong to a release", "packages, checksums, channel lines, changelogs"
        )


def named(path: str) -> Named:
    """A package by its path. Raises Damaged."""
    parts = path.split("/")
    for kind, form in PACKAGES.items():
        if match := form.fullmatch(parts[-1]):
            base = match.groupdict().get("base", "")
            device, build = match[1], match[match.re.groups]
            folder = "factory" if kind == "factory" else "ota"
            if parts[0] != folder:
                raise Damaged("name", f"{parts[-1]} below {parts[0]}/", f"it below {folder}/")
            _same(device, parts[1])
            if base == build:
                raise Damaged("name", f"an incremental from {build} to itself", "two builds")
            return Named(path, kind, device, parts[2], build, base)
    raise Damaged(
        "name",
        shown(parts[-1]),
        "DEVICE-ota_update-BUILD.zip, DEVICE-incremental-OLD-BUILD.zip, DEVICE-factory-BUILD.zip",
    )


def _same(device: str, folder: str) -> None:
    if device != folder:
        raise Damaged("name", f"device {shown(device)} in the folder of {folder}", folder)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder that does not belong to a release",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")
