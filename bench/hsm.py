"""What custody of the log costs: `python -m bench.hsm [--json] [--rounds N] [--packages N]`.

A session signs 30 packages, each by a program of its own, as signing scripts do: alone, on a device without forced
audit, and each through `bin/hsm-run`, in turns. The program stands for apksigner: it starts a Java runtime that does
some work with keys, and signs once on a simulated device. Exits 1 when the aim is missed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from yubihsm.defs import AUDIT

from cloud.converge import REPOSITORY
from tests.hsm_site import ADMIN, PASSWORDS, Site, site

console = Console(stderr=True)
PACKAGES, AT_MOST = 30, 0.1
SIGN = """
import subprocess, sys
from yubihsm import YubiHsm
from yubihsm.objects import AsymmetricKey
subprocess.run(["keytool", "-genkeypair", "-alias", "x", "-keyalg", "EC", "-dname", "CN=x",
    "-keystore", sys.argv[3], "-storepass", "changeit"], check=True, capture_output=True)
with YubiHsm.connect(sys.argv[1]) as hsm, hsm.create_session_derived(1, sys.argv[2]) as opened:
    AsymmetricKey(opened, 0x0101).sign_ecdsa(b"a package")
"""


def session(hsm: Site, folder: Path, custody: bool, number: int, packages: int) -> tuple[float, float]:
    """Seconds for all packages, and of these the CPU's."""
    python = str(REPOSITORY / ".venv/bin/python")
    wrapper = [str(REPOSITORY / "bin/hsm-run"), *hsm.words("run")[2:], "--"] if custody else []
    device = hsm.primary if custody else hsm.backup
    began, used = time.perf_counter(), _cpu_s()
    for package in range(packages):
        store = folder / f"{number}-{custody}-{package}"
        words = [*wrapper, python, "-c", SIGN, device.url, PASSWORDS["signing"], str(store)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        if done.returncode:
            raise RuntimeError(done.stderr)
    return time.perf_counter() - began, _cpu_s() - used


def _cpu_s() -> float:
    """Of all programs that this one has started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(rounds: int, packages: int) -> dict[str, Any]:
    times: dict[str, list[tuple[float, float]]] = {"alone": [], "in custody": []}
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder, site(Path(folder)) as hsm:
        hsm.make()
        with hsm.backup.session(ADMIN, PASSWORDS["admin"]) as opened:
            opened.set_force_audit(AUDIT.OFF)
        for number in range(rounds):
            for name in times:
                times[name].append(session(hsm, Path(folder), name != "alone", number, packages))
                console.print("{}: {:.1f} s, CPU {:.1f} s".format(name, *times[name][-1]))
        assert hsm.mainstay("verify").code == 0  # the backup's log was written over, and never drained again
    best = {name: min(found) for name, found in times.items()}
    wall, cpu = (best["in custody"][at] / best["alone"][at] - 1 for at in (0, 1))
    told = {"packages": packages, "seconds": best, "overhead": wall, "overhead_cpu": cpu}
    return told | {"aim": AT_MOST, "met": wall <= AT_MOST}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--packages", type=int, default=PACKAGES)
    given = parser.parse_args()
    found = measure(given.rounds, given.packages)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{given.packages} packages take {found['overhead']:.1%} longer in custody; the aim is {AT_MOST:.0%}")
        print(f"and {found['overhead_cpu']:.1%} more of the CPU")
    sys.exit(0 if found["met"] else 1)


if __name__ == "__main__":
    main()
