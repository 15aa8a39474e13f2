"""Provisioning that dies (-9) at a named point: `python -m tests.faults.provision_killed POINT ARGUMENTS...`.

Points are `before POST /instances`, `after POST /instances` (the answer is there and nobody has seen it), `lock N`
(after the lock was written for the Nth time), and `before`, `during` and `after` a step of first contact (`make`, `use`
or `scrub`; during: the host has its orders, the process does not hear the answer).
"""

import os
import re
import signal
import sys
from typing import Any

from pyinfra_cli.main import main as pyinfra  # first: it patches the standard library for gevent

import paramiko  # isort: skip

from cloud import first_contact  # isort: skip
from cloud.client import Client  # isort: skip
from inventories import lock  # isort: skip

POINT = sys.argv.pop(1)
STEPS = {first_contact.MAKE_KEY: "make", first_contact.USE_KEY: "use", first_contact.SCRUB: "scrub"}
IDS = re.compile(r"/[0-9a-f-]{36}|/[0-9]+$")


def reach(point: str) -> None:
    if point == POINT:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    once, save, run, end = Client._once, lock.save, first_contact.run, paramiko.Channel.shutdown_write
    saved, step = 0, ""

    def watched_once(self: Client, method: str, url: str, *rest: Any) -> Any:
        name = f"{method.upper()} {IDS.sub('/ID', url.removeprefix(self.url))}"
        reach(f"before {name}")
        answer = once(self, method, url, *rest)
        reach(f"after {name}")
        return answer

    def watched_save(*arguments: Any) -> None:
        nonlocal saved
        save(*arguments)
        saved += 1
        reach(f"lock {saved}")

    def watched_run(client: paramiko.SSHClient, script: str, *arguments: str) -> str:
        nonlocal step
        step = STEPS[script]
        reach(f"before {step}")
        output = run(client, script, *arguments)
        reach(f"after {step}")
        return output

    def watched_end(channel: paramiko.Channel) -> None:
        end(channel)
        reach(f"during {step}")

    setattr(Client, "_once", watched_once)  # noqa: B010
    setattr(lock, "save", watched_save)  # noqa: B010
    first_contact.run = watched_run
    setattr(paramiko.Channel, "shutdown_write", watched_end)  # noqa: B010
    sys.argv[0] = "pyinfra"
    pyinfra()


if __name__ == "__main__":
    main()
