"""pyinfra as an admin calls it, for drills, the rehearsal, the tests and the benchmarks."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from inventories.inventory import CONTROL_FOLDER
from inventories.ssh import ENDS_WITH_US

REPOSITORY = Path(__file__).parent.parent
PYINFRA = Path(sys.executable).with_name("pyinfra")
"""Where it is installed; the control host has its packages, and no programs of theirs."""


@dataclass(frozen=True)
class Converged:
    """How a run of pyinfra ended."""

    code: int
    changed: tuple[str, ...]
    """Operations that changed a host, `HOST: OPERATION`."""
    output: str
    """What it printed, for people."""

    @property
    def ok(self) -> bool:
        return self.code == 0


def command(inventory: Path, deploy: str, *options: str) -> list[str]:
    """The very words: `pyinfra INVENTORY deploys/DEPLOY.py -y`."""
    program = [str(PYINFRA)] if PYINFRA.exists() else [sys.executable, "-m", "pyinfra"]
    return [*program, str(inventory), f"deploys/{deploy}.py", "-y", *options]


def converge(inventory: Path, deploy: str, *options: str, timeout: float = 900) -> Converged:
    """Runs a deploy on an inventory to its end, or to that of this process; timeout in seconds."""
    done = subprocess.run(
        [*ENDS_WITH_US, *command(inventory, deploy, *options), "--json"],
        cwd=REPOSITORY,
        env={k: v for k, v in os.environ.items() if k != CONTROL_FOLDER} | {"PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    try:
        results = json.loads(done.stdout)["results"] or {"operations": []}
    except ValueError:
        return Converged(done.returncode or 1, (), done.stdout + done.stderr)
    changed = tuple(f"{host}: {op['name']}" for op in results["operations"] for host in op["success"])
    return Converged(done.returncode, changed, done.stderr)
