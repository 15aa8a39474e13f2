"""Simulated devices as programs that outlive whoever starts them, each with a folder of its own."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from lab import process
from lab.engine import EngineError, LabConfig

REPOSITORY = Path(__file__).parent.parent.parent
MEMORY, SOCKET, LOG, PID = "memory", "usb", "log", "pid"
"""In a device's folder: what it stores; its unix socket for `usb-redir`; what it says; its process."""
WAIT_S = 120


def start(folder: Path, port: int, *, address: str = "127.0.0.1", serial: int | None = None) -> str:
    """Starts a device unless it runs, and returns its URL once it answers. Raises EngineError.

    It is on `usb-redir` too, at the unix socket `folder/usb`. serial: of a device that is new.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    url = f"http://{address}:{port}"
    if not _pid(folder):
        words = [sys.executable, "-m", "lab.hsm", "--state", str(folder / MEMORY), "--port", str(port)]
        words += ["--address", address, "--usbredir", str(folder / SOCKET)]
        words += ["--serial", str(serial)] if serial else []
        process.start(folder / PID, words, {"PYTHONPATH": str(REPOSITORY)}, folder / LOG)
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            if "simulator=" in requests.get(f"{url}/connector/status", timeout=5).text:
                return url
        except requests.RequestException:
            pass
        if not _pid(folder) or time.monotonic() > deadline:
            said = (folder / LOG).read_text(errors="replace").strip()[-2000:]
            raise EngineError(f"no simulated device answers at {url}; {folder / LOG} ends with:\n{said}")
        time.sleep(0.05)


def stop(folder: Path) -> None:
    """Ends it as by a loss of power, if it runs: what it acknowledged is on disk. Raises EngineError."""
    process.end(folder / PID, str(folder / MEMORY), "the simulated device")


def of_lab(config: LabConfig, name: str) -> Path:
    """The folder of a device of a lab, which ends with it."""
    return config.root / "hsm" / name


def stop_all(config: LabConfig) -> None:
    """Ends all devices of a lab; what they acknowledged stays. Raises EngineError."""
    for folder in (config.root / "hsm").glob("*"):
        stop(folder)


@contextmanager
def running(folder: Path, port: int, **options: Any) -> Iterator[str]:
    """A device for as long as it lasts, by its URL; see `start`."""
    try:
        yield start(folder, port, **options)
    finally:
        stop(folder)


def fault(url: str, kind: str, **details: str | int) -> None:
    """Has a fault happen (lab/hsm/faults.py). Raises EngineError when it is none."""
    answer = requests.post(f"{url}/lab/faults", json={"kind": kind, **details}, timeout=60)
    if not answer.ok:
        raise EngineError(f"fault {kind}: {answer.text}")


def undo_faults(url: str) -> None:
    requests.delete(f"{url}/lab/faults", timeout=60).raise_for_status()


def _pid(folder: Path) -> int:
    return process.running(folder / PID, str(folder / MEMORY))
