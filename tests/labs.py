"""Labs of the tests' own. MAINSTAY_TEST_LAB names them, for several runs on one machine."""

import fcntl
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import requests

from lab import lifecycle
from lab.engine import LabConfig
from tests.waiting import until

NAME = os.environ.get("MAINSTAY_TEST_LAB", "test")
KEPT = f"{NAME}-kept"
"""What the names of kept labs begin with, whichever worker of pytest-xdist builds or uses them."""
RUN = str(os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid())
"""Tells this run, with all its workers, which are children of one process, from others of the same name."""
AS_BUILT, OF_RUN = "as-built", "of-run"
"""In a kept lab's folder: a copy of it, from when it was built; and which run did that."""
SHARED = """Host *
  ControlMaster auto
  ControlPath {path}.%n
  ControlPersist 30
  ServerAliveInterval 5
  ServerAliveCountMax 3

"""


def lab_name(part: str = "") -> str:
    """The name of a lab of this run, and of this worker alone."""
    return "-".join(filter(None, (NAME, os.environ.get("PYTEST_XDIST_WORKER"), part)))


@contextmanager
def own_lab(part: str = "", *, prepared: bool = False) -> Iterator[LabConfig]:
    """An empty lab for as long as it lasts; what an earlier run left of it goes first. prepared: see `lifecycle.up`."""
    name = lab_name(part)
    lifecycle.down(name)
    try:
        yield lifecycle.up(name, prepared=prepared)
    finally:
        lifecycle.down(name)


@contextmanager
def kept_lab(part: str, build: Callable[[LabConfig], None]) -> Iterator[LabConfig]:
    """A lab as `build` leaves it, whatever was done to it since. It is built once, and again only for a worker that
    finds all there are in use: hosts are deployed in a minute, and boot in seconds. Its hosts boot when this is
    entered, and may not be up yet."""
    with _free(part) as name:
        if _is_built(name):
            config = lifecycle.reserve(name)
            _clear(config.root)
            _copy(config.root / AS_BUILT, config.root)
        else:
            _build(name, build)
        try:
            yield lifecycle.up(name)
        finally:
            lifecycle.stop(name)


@contextmanager
def _free(part: str) -> Iterator[str]:
    """The name of the first lab of its kind that no other worker uses, which none does meanwhile."""
    lifecycle.LABS.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        name = f"{KEPT}-{part}-{number}"
        with (lifecycle.LABS / f".{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield name
            return


def _is_built(name: str) -> bool:
    config = lifecycle.find(name)
    mark = config and config.root / OF_RUN
    return bool(mark and mark.exists() and mark.read_text() == RUN)


def _build(name: str, build: Callable[[LabConfig], None]) -> None:
    lifecycle.down(name)
    config = lifecycle.up(name, prepared=True)
    try:
        build(config)
    except BaseException:
        lifecycle.down(name)
        raise
    lifecycle.stop(name)
    _copy(config.root, config.root / AS_BUILT)
    (config.root / OF_RUN).write_text(RUN)


def provider(config: LabConfig, method: str, path: str) -> None:
    """A request to the lab's cloud, until it is taken."""
    key = {"Authorization": f"Bearer {lifecycle.api_key(config)}"}
    url = f"{config.api_url}/{path}"
    until(f"{method} {path}", lambda: requests.request(method, url, headers=key, timeout=60).ok)


def one_connection(config: Path, text: str) -> Path:
    """Writes ssh's configuration, by which one connection to a host serves all commands, each a session of its own.

    Another text is of other hosts, with connections of their own. Who takes a host's power or link away disconnects it:
    nothing tells ssh, which gives it up only in a quarter of a minute.
    """
    wanted = SHARED.format(path=f"{config}.{zlib.crc32(text.encode()):x}") + text
    if not config.exists() or config.read_text() != wanted:
        config.write_text(wanted)
    return config


def disconnect(config: Path, host: str = "*") -> None:
    """Ends the connections of such a configuration, which the next command makes anew."""
    for control in config.parent.glob(f"{config.name}.*.{host}"):
        subprocess.run(["ssh", "-F", "none", "-S", control, "-O", "exit", "it"], capture_output=True, check=False)


def end_kept_labs() -> None:
    """For the end of a run, when no worker is left. Those of another run of the same name stay: it may be under way."""
    for name in lifecycle.names():
        if name.startswith(f"{KEPT}-") and _is_built(name):
            lifecycle.down(name)
            (lifecycle.LABS / f".{name}.lock").unlink(missing_ok=True)


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
    """What lies in a lab's folder, but for what it is known by to other labs, the copy, what tells of that, and the
    authority, which runs on."""
    staying = ("lab.json", "api_key", "authority", AS_BUILT, OF_RUN)
    return [path for path in root.iterdir() if path.name not in staying]
