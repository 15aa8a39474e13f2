"""Whether this machine's /dev/kvm runs a guest: told by a guest that has said something, and by nothing less.

The device may be there, open, and even make a virtual machine whose first instruction then fails, or never ends.
"""

import json
import os
import select
import subprocess
import time
from pathlib import Path

from inventories.files import replace
from lab.command import BASE, run
from lab.engine import EngineError

DEVICE = Path("/dev/kvm")
FOUND = BASE / "kvm.json"
"""What was found, and on what: another kernel or another QEMU is tried anew."""
PROBE_TIMEOUT_S = 10
SAYS = "Linux version"
PROBE = (
    *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "kvm"),
    *("-cpu", "host", "-m", "128", "-serial", "stdio", "-no-reboot"),
    *("-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"),
)


def usable(kernel: Path) -> bool:
    """Whether guests run; found out once with that kernel, in 10 s at most. False where there is no device or QEMU."""
    if not DEVICE.exists():
        return False
    try:
        on = f"{os.uname().release}, {run('qemu-system-x86_64', '--version').splitlines()[0]}"
    except EngineError:
        return False
    found = cached(FOUND, on)
    if found is None:
        said = probe((*PROBE, "-kernel", str(kernel)))
        found = runs(said)
        replace(FOUND, json.dumps({"on": on, "runs": found, "said": said[-500:]}, indent=1))
    return found


def cached(path: Path, on: str) -> bool | None:
    """What was found on such a machine; None when nothing was."""
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return bool(known["runs"]) if known.get("on") == on else None


def runs(said: str) -> bool:
    """Whether what a guest and QEMU said has a whole line of the guest's kernel."""
    return any(SAYS in line for line in said.splitlines(keepends=True) if line.endswith("\n"))


def probe(words: tuple[str, ...], timeout_s: float = PROBE_TIMEOUT_S) -> str:
    """What a guest says, until that is enough, it ends, or the time is over; then it is killed."""
    said = b""
    deadline = time.monotonic() + timeout_s
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as guest:
        assert guest.stdout is not None
        while not runs(said.decode(errors="replace")):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([guest.stdout], [], [], left)[0]:
                break
            more = guest.stdout.read(4096)
            if not more:
                break
            said += more
        guest.kill()
    return said.decode(errors="replace")
