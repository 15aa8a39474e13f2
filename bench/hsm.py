"""What custody of the log costs: `python -m bench.hsm [--json] [--rounds N] [--packages N] [--megabytes N]`.

A session signs 30 packages of 10 MB, each by a call of apksigner through Java's PKCS#11 and Yubico's module, as release
scripts do: alone, on a device without forced audit, and each through `bin/hsm-run`, in turns. It installs Debian's
apksigner and yubihsm-pkcs11. Exits 1 when the aim is missed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from yubihsm.defs import AUDIT, COMMAND

from cloud.converge import REPOSITORY
from lab.go import debian_package, run
from lab.hsm.commands import COMMANDS
from lab.hsm.commands.call import Call
from tests.hsm_site import ADMIN, PASSWORDS, SIGNING, Site, site
from tests.signing_hsms import APKSIGNER, EXPORTS, OF_RSA, PROVIDER

console = Console(stderr=True)
PACKAGES, MEGABYTES, AT_MOST = 30, 10, 0.1
CHANGES = OF_RSA | {'algorithm = "ecp256"': 'algorithm = "rsa4096"'}
SIGN_S = 0.852
"""What a device needs for a signature of RSA-4096, as its maker tells; the simulated one waits as long."""


def session(hsm: Site, folder: Path, custody: bool, packages: int) -> tuple[float, float]:
    """Seconds for all packages, and of these the CPU's."""
    wrapper = [str(REPOSITORY / "bin/hsm-run"), *hsm.words("run")[2:], "--"] if custody else []
    device = hsm.primary if custody else hsm.backup
    (folder / "pkcs11.conf").write_text(f"connector = {device.url}\n")
    environment = os.environ | {"JAVA_TOOL_OPTIONS": EXPORTS, "YUBIHSM_PKCS11_CONF": "pkcs11.conf"}
    began, used = time.perf_counter(), _cpu_s()
    for _ in range(packages):
        words = [*wrapper, *APKSIGNER.split()]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
    return time.perf_counter() - began, _cpu_s() - used


def _as_slow_as_a_device() -> pytest.MonkeyPatch:
    """Of signatures; undo it afterwards."""
    command = COMMANDS[COMMAND.SIGN_PKCS1]

    def run(call: Call) -> bytes:
        time.sleep(SIGN_S)
        return command.run(call)

    patch = pytest.MonkeyPatch()
    patch.setitem(COMMANDS, COMMAND.SIGN_PKCS1, command._replace(run=run))
    return patch


def _package(folder: Path, megabytes: int) -> None:
    """in.apk, and all else that apksigner is given."""
    debian_package("apksigner", "apksigner")
    run("apt-get", "install", "-yq", "--no-install-recommends", "yubihsm-pkcs11", cwd=Path("/"))
    with zipfile.ZipFile(folder / "in.apk", "w") as package:
        package.writestr("AndroidManifest.xml", "manifest")
        package.writestr("classes.dex", os.urandom(megabytes * 1_000_000))
    (folder / "provider").write_text(PROVIDER)
    (folder / "pin").write_text(f"{SIGNING:04x}{PASSWORDS['signing']}")


def _cpu_s() -> float:
    """Of all programs that this one has started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(rounds: int, packages: int, megabytes: int) -> dict[str, Any]:
    times: dict[str, list[tuple[float, float]]] = {"alone": [], "in custody": []}
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder, site(Path(folder)) as hsm:
        for old, new in CHANGES.items():
            hsm.change(old, new)
        hsm.make()
        _package(Path(folder), megabytes)
        with hsm.backup.session(ADMIN, PASSWORDS["admin"]) as opened:
            opened.set_force_audit(AUDIT.OFF)
        patch = _as_slow_as_a_device()
        for _ in range(rounds):
            for name in times:
                times[name].append(session(hsm, Path(folder), name != "alone", packages))
                console.print("{}: {:.1f} s, CPU {:.1f} s".format(name, *times[name][-1]))
        patch.undo()
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
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="of a package")
    given = parser.parse_args()
    found = measure(given.rounds, given.packages, given.megabytes)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{given.packages} packages take {found['overhead']:.1%} longer in custody; the aim is {AT_MOST:.0%}")
        print(f"and {found['overhead_cpu']:.1%} more of the CPU")
    sys.exit(0 if found["met"] else 1)


if __name__ == "__main__":
    main()
