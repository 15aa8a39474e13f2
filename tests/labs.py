"""Labs of the tests' own. MAINSTAY_TEST_LAB names them, for several runs on one machine."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import lifecycle
from lab.engine import LabConfig

KEPT: set[str] = set()
"""Labs that this process has built, and goes back to."""
AS_BUILT = "as-built"
"""Folder of a kept lab: a copy of it, from when it was built."""


def lab_name(part: str = "") -> str:
    """The name of a lab of this run."""
    return "-".join(filter(None, (os.environ.get("MAINSTAY_TEST_LAB", "test"), part)))


@contextmanager
def own_lab(part: str = "") -> Iterator[LabConfig]:
    """An empty lab for as long as it lasts; what an earlier run left of it goes first."""
    name = lab_name(part)
    lifecycle.down(name)
    try:
        yield lifecycle.up(name)
    finally:
        lifecycle.down(name)


@contextmanager
def kept_lab(part: str, build: Callable[[LabConfig], None]) -> Iterator[LabConfig]:
    """A lab as `build` leaves it, whatever was done to it since. It is built once: hosts are deployed in a minute, and
    boot in seconds. Its hosts boot when this is entered, and may not be up yet."""
    name = lab_name(part)
    if name in KEPT:
        config = lifecycle.reserve(name)
        _clear(config.root)
        _copy(config.root / AS_BUILT, config.root)
    else:
        _build(name, build)
    try:
        yield lifecycle.up(name)
    finally:
        lifecycle.stop(name)


def _build(name: str, build: Callable[[LabConfig], None]) -> None:
    lifecycle.down(name)
    config = lifecycle.up(name)
    try:
        build(config)
    except BaseException:
        lifecycle.down(name)
        raise
    KEPT.add(name)
    lifecycle.stop(name)
    _copy(config.root, config.root / AS_BUILT)


def end_kept_labs() -> None:
    """For the end of a run."""
    while KEPT:
        lifecycle.down(KEPT.pop())


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", *_changing(source), target], check=True)


def _clear(root: Path) -> None:
    for path in _changing(root):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _changing(root: Path) -> list[Path]:
    """What lies in a lab's folder, but for what it is known by to other labs, and the copy."""
    return [path for path in root.iterdir() if path.name not in ("lab.json", "api_key", AS_BUILT)]
