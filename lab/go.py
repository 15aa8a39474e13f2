"""A Go that is new enough to build what lab and tests need of Go: the machine's, or one that the machine's fetches."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from lab.engine import EngineError

NEEDED = (1, 25)
TOOLCHAIN = "golang.org/toolchain@v0.0.1-go1.25.8.linux-{}"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command that has to succeed. Raises EngineError."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | environment,
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"{' '.join(str(word) for word in command)}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


def debian_package(program: str, package: str) -> str:
    """The program's path, its Debian package installed if it is not there."""
    if not shutil.which(program):
        install = ("apt-get", "install", "-yq", "--no-install-recommends", package)
        run(*install, cwd=Path("/"), DEBIAN_FRONTEND="noninteractive")
    found = shutil.which(program)
    assert found
    return found


def go() -> str:
    """The path of the go command. Debian 12's own (1.19) is too old, and can fetch a newer one as a module."""
    machine = debian_package("go", "golang-go")
    version = re.search(r"go(\d+)\.(\d+)", run(machine, "version", cwd=Path("/")))
    assert version
    if (int(version[1]), int(version[2])) >= NEEDED:
        return machine
    root = module(machine, TOOLCHAIN.format(ARCHITECTURES[os.uname().machine]))
    for folder in (root / "bin", root / "pkg/tool"):
        # Modules hold no executable files: Go sets the bits itself only from 1.21 on.
        run("chmod", "-R", "u+w,a+x", folder, cwd=Path("/"))
    return str(root / "bin/go")


def module(go: str, name: str) -> Path:
    """The folder of a module, `PATH@VERSION`, fetched and checked."""
    return Path(json.loads(run(go, "mod", "download", "-json", name, cwd=Path("/")))["Dir"])
