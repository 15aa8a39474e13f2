"""The host's certificate program, which dies (-9) before a step: `python3 -I - STEP < certificate_killed.py`, there.

A step changes a file, or runs a program that may. STEP is a word of it, or its number; with 0 the program lives, and
its last lines say what steps there were.
"""

import os
import pathlib
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

PROGRAM = "/usr/local/lib/mainstay/certificate.py"
STEPS = (
    (os, "fchmod"),
    (os, "fsync"),
    (pathlib.Path, "rename"),
    (pathlib.Path, "touch"),
    (pathlib.Path, "unlink"),
    (pathlib.Path, "write_text"),
    (subprocess, "run"),
)


def main() -> None:
    at = sys.argv[1]
    steps: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*words: Any, **options: Any) -> Any:
            if name == "run" and words[0][0] == "openssl":  # here it prints, and changes nothing
                return call(*words, **options)
            steps.append(f"{name} {words[0]}")
            if at == str(len(steps)) or (not at.isdigit() and at in steps[-1]):
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*words, **options)

        return step

    for place, name in STEPS:
        setattr(place, name, counted(name, getattr(place, name)))
    sys.argv = [PROGRAM]
    try:
        runpy.run_path(PROGRAM, run_name="__main__")
    finally:
        print("\n".join(steps))


if __name__ == "__main__":
    main()
