"""`mainstay` that loses power just before something it does to the world outside.

    python -m tests.faults.rotation_killed 'restic key add 1' backup rotate ...

The point is what it starts (program and its first two words) or `write` of the secrets file, and for the how manyeth
time. Without a point ("") it runs to its end, and prints every point that it passed.
"""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from inventories import secrets
from inventories.ssh import ENDS_WITH_US

PASSED: Counter[str] = Counter()
CHILDREN: list[Any] = []


def pass_by(what: str, point: str) -> None:
    PASSED[what] += 1
    here = f"{what} {PASSED[what]}"
    if not point:
        print(f"passed {here}", flush=True)
    if here == point:
        for child in CHILDREN:
            if child.poll() is None:
                child.kill()
        os.kill(os.getpid(), signal.SIGKILL)


def label(words: list[str]) -> str:
    if tuple(words[: len(ENDS_WITH_US)]) == ENDS_WITH_US:
        words = words[len(ENDS_WITH_US) :]
    program = Path(words[0]).name
    if program == Path(os.environ["MAINSTAY_RESTIC"]).name:
        return " ".join(["restic", *[word for word in words[1:] if not word.startswith("-")][:2]])
    return program


def run(point: str) -> None:
    start, write = subprocess.Popen.__init__, vars(secrets)["replace"]

    def begin(child: Any, words: Any, *args: Any, **how: Any) -> None:
        pass_by(label([str(word) for word in words]), point)
        start(child, words, *args, **how)
        CHILDREN.append(child)

    def replace(*args: Any) -> None:
        pass_by("write", point)
        write(*args)

    patch = pytest.MonkeyPatch()
    patch.setattr(subprocess.Popen, "__init__", begin)
    patch.setattr(secrets, "replace", replace)
    main()


if __name__ == "__main__":
    wanted, sys.argv = sys.argv[1], ["mainstay", *sys.argv[2:]]
    run(wanted)
