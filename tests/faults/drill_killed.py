"""`mainstay` that is killed (-9) at a point of a drill: `python -m tests.faults.drill_killed POINT drill run ...`.

Points are `phase NAME` (it was written down, and nothing done), `in NAME` (its first progress was told), `after POST
/instances` (of a request to the provider; the answer is there and nobody has seen it), `before make` (of first contact,
see tests/faults/provision_killed.py), and `begun pyinfra` or `begun restore` (on the host, which goes on without us).
Those of the end, `phase destroy` and `after DELETE ...`, are of a drill that failed when it had a host.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backup.drills.steps import StepFailed
from cli.drill.running import Told
from cli.main import main
from cloud import first_contact
from cloud.client import Client
from inventories.ssh import ENDS_WITH_US

IDS = re.compile(r"/[0-9a-f-]{36}|/[0-9]+$")
OF_THE_END = ("phase destroy", "after DELETE")
STEPS = {first_contact.MAKE_KEY: "make", first_contact.USE_KEY: "use", first_contact.SCRUB: "scrub"}


def run(point: str) -> None:
    def reach(here: str) -> None:
        if here == point:
            os.kill(os.getpid(), signal.SIGKILL)

    once, contact, begin, phase, progress = (
        Client._once,
        first_contact.run,
        subprocess.Popen.__init__,
        Told.phase,
        Told.progress,
    )
    now = ""

    def heard_phase(told: Told, name: str) -> None:
        nonlocal now
        now = name
        phase(told, name)
        reach(f"phase {name}")
        if name == "deploy" and point.startswith(OF_THE_END):
            raise StepFailed("far enough")

    def heard_progress(told: Told, *how: Any) -> None:
        progress(told, *how)
        reach(f"in {now}")

    def asked(api: Client, method: str, url: str, *rest: Any) -> Any:
        answer = once(api, method, url, *rest)
        reach(f"after {method.upper()} {IDS.sub('/ID', url.removeprefix(api.url))}")
        return answer

    def contacted(client: Any, script: str, *arguments: str) -> str:
        reach(f"before {STEPS[script]}")
        return contact(client, script, *arguments)

    def begun(child: Any, words: Any, *args: Any, **how: Any) -> None:
        begin(child, words, *args, **how)
        if tuple(words[: len(ENDS_WITH_US)]) == ENDS_WITH_US:
            words = words[len(ENDS_WITH_US) :]
        reach(f"begun {'restore' if 'restore' in words else Path(str(words[0])).name}")

    patch = pytest.MonkeyPatch()
    patch.setattr(Told, "phase", heard_phase)
    patch.setattr(Told, "progress", heard_progress)
    patch.setattr(Client, "_once", asked)
    patch.setattr(first_contact, "run", contacted)
    patch.setattr(subprocess.Popen, "__init__", begun)
    main()


if __name__ == "__main__":
    wanted, sys.argv = sys.argv[1], ["mainstay", *sys.argv[2:]]
    run(wanted)
