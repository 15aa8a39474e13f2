"""Holds the lock of deploys for as long as its standard input is open, and writes the record of them.

Whoever deploys keeps this running over its connection. However that ends, the input ends with it, and the lock: nobody
has to take it away. The input is a line of orders, then a line for each thing that is to be recorded; the answer is one
line: {"held": true}, or what the holder of the lock said of itself.
"""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TextIO

LOCK = Path("/run/mainstay-deploy.lock")
RECORD = Path("/var/lib/mainstay/deploys.jsonl")
DECLARED = Path("/var/lib/mainstay/declared.json")
"""What deploys of this host have declared, by name: what its own look for drift is about."""
LOOK = ("systemctl", "start", "--no-block", "mainstay-drift.service")
"""Begins that look, which remembers what the deploy has left. A host that the base was never deployed to has none."""
WAIT_S = 5
"""How long a lock is waited for: as long as one may take to go whose holder was killed."""
KEPT_LINES = 1000
"""The record is cut to these once it has twice as many."""
READERS = "adm"
"""The group that reads logs without sudo."""


def take(lock: TextIO) -> bool:
    """Whether it is this process's now."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        else:
            return True


def holder(lock: TextIO) -> dict[str, object]:
    """What the one who has it wrote there."""
    lock.seek(0)
    try:
        found: dict[str, object] = json.loads(lock.read())
    except ValueError:
        return {}
    return found


def where_from() -> str:
    """Address of the client of the session that this runs in: sudo takes it away, its caller has it."""
    pid = os.getppid()
    while pid > 1:
        try:
            for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if variable.startswith(b"SSH_CONNECTION="):
                    return variable.partition(b"=")[2].split()[0].decode()
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            break
    return ""


def write(entry: dict[str, object]) -> None:
    """Appends it to the record, on disk before this returns."""
    line = json.dumps({**entry, "time": int(time.time())}, ensure_ascii=False)
    with RECORD.open("a") as record:
        record.write(f"{line}\n")
        record.flush()
        os.fsync(record.fileno())


def bound() -> None:
    """Makes the record, or cuts it; nobody else writes meanwhile."""
    lines = RECORD.read_text().splitlines(keepends=True) if RECORD.exists() else []
    if RECORD.exists() and len(lines) < 2 * KEPT_LINES:
        return
    if not RECORD.parent.exists():
        RECORD.parent.mkdir(parents=True)
        RECORD.parent.chmod(0o755)
    fresh = RECORD.with_suffix(".new")
    fresh.write_text("".join(lines[-KEPT_LINES:]))
    readable(fresh)
    fresh.replace(RECORD)


def readable(path: Path) -> None:
    """For whoever reads logs."""
    shutil.chown(path, group=READERS)
    path.chmod(0o640)


def note(declared: dict[str, list[str]]) -> None:
    """Adds to what is declared: a deploy of one role knows nothing of the others. `listens` are those of all."""
    known = json.loads(DECLARED.read_text()) if DECLARED.exists() else {}
    found = {kind: list(dict.fromkeys((*known.get(kind, ()), *names))) for kind, names in declared.items()}
    fresh = DECLARED.with_suffix(".new")
    fresh.write_text(json.dumps(found | {"listens": declared["listens"]}))
    fresh.replace(DECLARED)


def keep(about: dict[str, object]) -> bool:
    """Records what the input says, until it ends; an end that it did not announce is recorded too. Returns whether the
    deploy came to its own end."""
    name = {"id": about["id"]}
    ended, finished = True, False

    def broken(*_: object) -> None:
        if not ended:
            write({**name, "event": "broken"})
        os._exit(0)

    signal.signal(signal.SIGTERM, broken)
    for line in sys.stdin.buffer:
        entry = json.loads(line)
        ended, finished = entry["event"] not in ("started", "resumed"), entry["event"] == "finished"
        if finished:
            note(entry.pop("declared"))
        write({**(about if entry["event"] == "started" else name), **entry})
    if not ended:
        write({**name, "event": "stopped"})
    return finished


def main() -> None:
    orders = json.loads(zlib.decompress(base64.b64decode(sys.stdin.buffer.readline())))
    os.umask(0o077)
    with LOCK.open("a+") as lock:
        if not take(lock):
            print(json.dumps(holder(lock)), flush=True)
            return
        readable(LOCK)
        about = {**orders, "admin": os.environ.get("SUDO_USER", "root"), "address": where_from(), "pid": os.getpid()}
        lock.truncate(0)
        lock.write(json.dumps({**about, "time": int(time.time())}))
        lock.flush()
        bound()
        # A session that hangs up ends the input as well, and that is recorded.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        print(json.dumps({"held": True}), flush=True)
        finished = keep(about)
        lock.truncate(0)
    if finished:
        subprocess.run(LOOK, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
