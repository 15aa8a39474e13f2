"""Enables, starts, restarts, reloads and stops units, and keeps a record of what each was started with."""

import base64
import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

RECORDS = Path("/var/lib/mainstay/units")
SETTLE_S = 1.0
STARTING = {"restart", "reload"}
RUNNING = STARTING | {"stop"}


def said(*command: str) -> tuple[int, str]:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout.strip()


def remember(unit: str, record: str) -> None:
    fresh = RECORDS / f"{unit}.new"
    with fresh.open("w") as out:
        out.write(f"{record}\n")
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(RECORDS / unit)


def act(unit: str, verbs: list[str]) -> str:
    """Returns what went wrong. Of what changes which units are enabled, systemd is told once for all: see `main`."""
    for verb in verbs:
        status, text = said("systemctl", "--no-ask-password", "--no-reload", *verb.split(), unit)
        if status:
            return text or f"systemctl {verb} ends with {status}"
    return ""


def trouble(unit: str, conditional: bool) -> str:
    """What is wrong with a unit just started. A simple service counts as started before it has read anything."""
    end = time.monotonic() + SETTLE_S
    while True:
        shown = said("systemctl", "show", "-p", "ActiveState,SubState,Result,Type,ConditionResult", unit)[1]
        now = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if conditional and now["ActiveState"] in ("inactive", "failed") and now["ConditionResult"] == "no":
            said("systemctl", "reset-failed", unit)  # of a start before it had that condition
            return ""
        if now["ActiveState"] in ("inactive", "failed", "deactivating") or now["SubState"] == "auto-restart":
            return f"it does not stay up: {now['ActiveState']}, {now['SubState']}, result {now['Result']}"
        if now.get("Type") not in ("simple", "exec", "idle") or time.monotonic() > end:
            return ""
        time.sleep(0.1)


def main() -> int:
    orders = json.loads(zlib.decompress(base64.b64decode(sys.stdin.buffer.read())))
    os.umask(0o022)
    RECORDS.mkdir(parents=True, exist_ok=True)
    began = int(time.time())
    wrong = {}
    for unit, verbs, record, _ in orders:
        if not record:
            (RECORDS / unit).unlink(missing_ok=True)
        wrong[unit] = act(unit, [verb for verb in verbs if verb not in RUNNING])
    said("systemctl", "daemon-reload")
    for unit, verbs, _, _ in orders:
        wrong[unit] = wrong[unit] or act(unit, [verb for verb in verbs if verb in RUNNING])
    for unit, verbs, record, conditional in orders:
        if STARTING & set(verbs) and not wrong[unit]:
            wrong[unit] = trouble(unit, conditional)
            if not wrong[unit]:
                remember(unit, record)
    for unit, problem in wrong.items():
        if problem:
            journal = ("journalctl", "-q", "--no-pager", "-o", "cat", "-n", "20", "--since", f"@{began}", "-u", unit)
            print(f"{unit}: {problem}\n{said(*journal)[1]}", file=sys.stderr)
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
