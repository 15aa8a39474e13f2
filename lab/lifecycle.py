"""A lab as a whole: up, down, status. Used by `mainstay lab`, `bin/rehearse` and the tests."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from inventories.files import replace
from inventories.typed import NAME
from lab import authority, gerrit_war, repositories, site_files, storage
from lab.api.store import DRILL, MAIN, Store, account_of
from lab.command import BASE
from lab.engine import MAX_INDEX, LabConfig
from lab.hosts import LabEngine
from lab.hsm import service
from lab.prepared import prepare

LABS = BASE / "labs"
DAEMON_TIMEOUT_S = 60
REPOSITORY = Path(__file__).parent.parent
KEYS = {MAIN: "api_key", DRILL: "drill_api_key"}
"""Files in the lab's folder, by account."""


class LabError(Exception):
    """The lab could not be brought up or down; says why and what to do."""


class NameRefused(LabError):
    """No lab can have this name."""


def up(name: str = "lab", *, prepared: bool = False) -> LabConfig:
    """Brings a lab up, or finds it up, and returns when its API answers. Needs root. Raises LabError, EngineError.

    prepared: its new hosts have their role's packages (lab/prepared.py).
    """
    _check(name)
    if os.geteuid() != 0:
        raise LabError("the local cloud needs root: it makes networks and boots hosts")
    if name == "lab":
        # Its inventory declares a Gerrit; those of other labs that have one ask for the war themselves.
        gerrit_war.war(gerrit_war.CURRENT)
    with _exclusive():
        config = find(name) or _allocate(name)
        if _make_keys(config):
            _stop_daemon(config)  # One that runs knows nothing of an account that there was not.
        site_files.write(config, api_key(config), api_key(config, DRILL))
        repositories.make(config)
        if not answers(config):
            LabEngine(config).prepare()
            _start_daemon(config)
        if prepared:
            prepare(config)
        site_files.add_dns_key(config, api_key(config))
        storage.start(config)
        authority.start(config)
    return config


def reserve(name: str) -> LabConfig:
    """A lab's name and index without API or hosts, for who drives an engine alone; `down` ends it like any other."""
    _check(name)
    with _exclusive():
        return find(name) or _allocate(name)


def stop(name: str) -> None:
    """Ends whatever runs of a lab, its hosts as by a loss of power. `up` goes on with all that it has. Needs root.

    The certificate authority runs on: what it knows would end with it, as nothing else does.

    Raises LabError, EngineError.
    """
    _check(name)
    with _exclusive():
        if config := find(name):
            _end(config)


def down(name: str = "lab") -> None:
    """Ends a lab and everything it ever made, whatever state it is in; one that is not there is down. Needs root.

    Raises LabError, EngineError.
    """
    _check(name)
    with _exclusive():
        config = find(name)
        if config is None and name != "lab":
            # Nothing is made before the lab's index is written down.
            _remove(LABS / name)
            return
        config = config or LabConfig(name, 0, LABS / name)
        _end(config)
        authority.stop(config)
        _remove(config.root)


def _end(config: LabConfig) -> None:
    _stop_daemon(config)
    storage.stop(config)
    service.stop_all(config)
    LabEngine(config).sweep()


def names() -> list[str]:
    """Every lab of this machine, and `lab`, of which something may be left without a folder."""
    return sorted({"lab", *(folder.name for folder in LABS.glob("*") if folder.is_dir())})


def status(name: str = "lab") -> dict[str, Any]:
    """What there is of a lab, from its files: `state` is up, stopped (hosts may run, the API does not) or down."""
    config = find(name)
    if config is None:
        return {"name": name, "state": "down", "hosts": []}
    database = config.root / "cloud.db"
    hosts = []
    if database.exists():
        store = Store(database)
        engine = LabEngine(config)
        for item in store.all("instance"):
            if not item["_deleted"]:
                hosts.append(_host(item, running=engine.status(item["id"]).running))
        store.close()
    return {
        "name": name,
        "state": "up" if answers(config) else "stopped",
        "api_url": config.api_url,
        "api_key": api_key(config),
        "drill_api_url": config.drill_api_url,
        "drill_api_key": api_key(config, DRILL) if (config.root / KEYS[DRILL]).exists() else "",
        "site": str(config.root / "site"),
        "hosts": hosts,
    }


def _host(item: dict[str, Any], *, running: bool) -> dict[str, Any]:
    roles = [tag.removeprefix("role:") for tag in item["tags"] if tag.startswith("role:")]
    state = "stopped" if not running else "running" if item["_booted"] else "booting"
    job = item["_job"]
    return {
        "name": item["label"] or item["hostname"],
        "role": next(iter(roles), ""),
        "address": item["main_ip"],
        "address6": item["_ipv6"],
        "state": f"{state} ({job['action']})" if job else state,
        "id": item["id"],
        "account": account_of(item),
        "error": item["_error"],
    }


def find(name: str) -> LabConfig | None:
    """The lab of that name if it has been brought up."""
    if not NAME.fullmatch(name):
        return None
    file = LABS / name / "lab.json"
    try:
        return LabConfig(name, int(json.loads(file.read_text())["index"]), file.parent)
    except FileNotFoundError:
        return None


def api_key(config: LabConfig, account: str = MAIN) -> str:
    return (config.root / KEYS[account]).read_text().strip()


def answers(config: LabConfig, timeout_s: float = 2) -> bool:
    """Whether the lab's API is there, and is this lab's."""
    try:
        url = config.api_url.removesuffix("/v2") + "/lab"
        request = Request(url, headers={"Authorization": f"Bearer {api_key(config)}"})  # noqa: S310
        with urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return bool(json.load(answer)["lab"] == config.name)
    except (URLError, OSError, ValueError, KeyError):
        return False


def _check(name: str) -> None:
    """A name is a folder's too. Raises NameRefused."""
    if not NAME.fullmatch(name):
        raise NameRefused(
            f"{name!r} cannot be a lab's name: lower-case letters, digits and dashes, starting with a letter"
        )


@contextmanager
def _exclusive() -> Iterator[None]:
    """One lab comes or goes at a time: they share indexes and images."""
    LABS.mkdir(parents=True, exist_ok=True)
    with (LABS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _allocate(name: str) -> LabConfig:
    taken = {int(json.loads(file.read_text())["index"]) for file in LABS.glob("*/lab.json")}
    free = [index for index in range(1, MAX_INDEX + 1) if index not in taken]
    if name != "lab" and not free:
        raise LabError(f"{MAX_INDEX} labs are up already: take one down with `mainstay lab down --name NAME`")
    config = LabConfig(name, 0 if name == "lab" else free[0], LABS / name)
    config.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    _make_keys(config)
    replace(config.root / "lab.json", json.dumps({"name": name, "index": config.index}) + "\n", 0o644)
    return config


def _make_keys(config: LabConfig) -> bool:
    """The keys of the accounts that have none; whether there were such."""
    missing = [file for name in KEYS.values() if not (file := config.root / name).exists()]
    for file in missing:
        replace(file, secrets.token_hex(18).upper() + "\n", 0o600)
    return bool(missing)


def _start_daemon(config: LabConfig) -> None:
    log = config.root / "daemon.log"
    with log.open("a") as out:
        started = out.tell()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "lab.daemon", config.name],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + DAEMON_TIMEOUT_S
    while not answers(config):
        if daemon.poll() is not None or time.monotonic() > deadline:
            said = log.read_text()[started:].strip()[-2000:]
            raise LabError(f"the lab's API does not answer at {config.api_url}; {log} ends with:\n{said}")
        time.sleep(0.05)


def _daemon_pid(config: LabConfig) -> int:
    """The running daemon's process id, or 0. It holds a lock on its pid file for as long as it lives."""
    try:
        with (config.root / "daemon.pid").open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except FileNotFoundError:
        pass
    return 0


def _stop_daemon(config: LabConfig) -> None:
    for attempt in range(100):
        pid = _daemon_pid(config)
        if not pid:
            return
        os.kill(pid, signal.SIGTERM if attempt < 50 else signal.SIGKILL)
        time.sleep(0.1)
    raise LabError(f"the lab's API process {pid} does not end")


def _remove(root: Path) -> None:
    """The lab's folder; name and index last, with the key that all look for beside them, so that a `down` cut short can
    be run again."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    left = [mount for mount in mounts if Path(mount).is_relative_to(root)]
    if left:
        raise LabError(f"still mounted: {', '.join(left)}; see what holds them with `fuser -vm`, then run it again")
    if not root.exists():
        return
    for entry in root.iterdir():
        if entry.name in ("lab.json", "api_key"):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (root / "lab.json").unlink(missing_ok=True)
    shutil.rmtree(root)
