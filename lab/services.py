"""What a lab's hosts find on their gateway: a package cache.

The package cache is one apt-cacher-ng for all labs of the machine, so that what one host fetched, no other fetches
again. It is started by the first lab that needs it and ended by the sweep of the last one.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import process
from lab.command import BASE
from lab.engine import MAX_INDEX, EngineError, LabConfig

CACHE = BASE / "cache"
CACHE_PORT = 3143
"""Not apt-cacher-ng's own 3142, where Debian's package starts a service by itself."""
NONLOCAL_BIND = Path("/proc/sys/net/ipv4/ip_nonlocal_bind")


def cache_url(config: LabConfig) -> str:
    """The cache as the lab's hosts reach it."""
    return f"http://{config.gateway4}:{CACHE_PORT}"


LOCAL_CACHE_URL = f"http://127.0.0.1:{CACHE_PORT}"


def use_cache(config: LabConfig) -> None:
    """Starts the package cache unless it runs, and notes that this lab uses it."""
    with _cache_lock():
        (CACHE / "users").mkdir(exist_ok=True)
        (CACHE / "users" / config.prefix).touch()
        if not _cache_pid():
            _start_cache()


def leave_cache(config: LabConfig) -> None:
    """Notes that this lab no longer uses the cache, and ends it when none does. What it holds stays."""
    with _cache_lock():
        (CACHE / "users" / config.prefix).unlink(missing_ok=True)
        pid = _cache_pid()
        if pid and not any((CACHE / "users").glob("*")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            _wait(lambda: not _cache_pid(), f"the package cache (process {pid}) does not end on SIGTERM")


@contextlib.contextmanager
def _cache_lock() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cache_pid() -> int:
    return process.running(CACHE / "pid", str(CACHE / "conf"))


def _start_cache() -> None:
    """Listens on loopback and on the gateway of every lab there may be, existing or not, and on nothing else."""
    conf, data, log = CACHE / "conf", CACHE / "data", CACHE / "log"
    conf.mkdir(exist_ok=True)
    gateways = [str(LabConfig("", index, BASE).gateway4) for index in range(MAX_INDEX + 1)]
    (conf / "acng.conf").write_text(
        f"CacheDir: {data}\nLogDir: {log}\nSupportDir: /usr/lib/apt-cacher-ng\nPort: {CACHE_PORT}\n"
        f"BindAddress: 127.0.0.1 {' '.join(gateways)}\nForeGround: 1\nExThreshold: 30\nReportPage: report\n"
    )
    for directory in (data, log):
        directory.mkdir(exist_ok=True)
        shutil.chown(directory, "apt-cacher-ng", "apt-cacher-ng")
    before = NONLOCAL_BIND.read_text()
    NONLOCAL_BIND.write_text("1")
    try:
        with (CACHE / "output").open("wb") as output:
            started = subprocess.Popen(
                ["apt-cacher-ng", "-c", str(conf)],
                user="apt-cacher-ng",
                group="apt-cacher-ng",
                extra_groups=[],
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        (CACHE / "pid").write_text(str(started.pid))
        _wait(
            lambda: started.poll() is not None or _answers(), f"the package cache does not answer: see {CACHE}/output"
        )
        if started.poll() is not None:
            raise EngineError(f"the package cache ended at once: {(CACHE / 'output').read_text().strip()}")
    except FileNotFoundError as error:
        raise EngineError("apt-cacher-ng: not installed on this machine") from error
    finally:
        NONLOCAL_BIND.write_text(before)


def _answers() -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", CACHE_PORT), timeout=1):
        return True
    return False


def _wait(done: Callable[[], bool], otherwise: str, *, timeout_s: float = 15) -> None:
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            raise EngineError(otherwise)
        time.sleep(0.02)
