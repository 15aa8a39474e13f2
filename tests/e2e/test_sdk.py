"""The provider's own SDKs, unchanged, pointed at the lab: each makes a small site and unmakes it (tests/e2e/sdk)."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import lifecycle
from lab.command import BASE
from lab.engine import LabConfig

pytestmark = pytest.mark.lab

PROGRAMS = Path(__file__).parent / "sdk"
CACHE = BASE / "cache/sdk"
GO_NEEDED = (1, 23)
GO_TOOLCHAIN = "golang.org/toolchain@v0.0.1-go1.24.9.linux-{}"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | environment,
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def debian_package(program: str, package: str) -> str:
    """The program's path, its Debian package installed if it is not there."""
    if not shutil.which(program):
        noninteractive = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "install", "-yq", "--no-install-recommends", package, cwd=PROGRAMS, **noninteractive)
    found = shutil.which(program)
    assert found
    return found


def go() -> str:
    """A Go that is new enough: the machine's, or one that the machine's fetches as a module (Debian 12 has 1.19)."""
    machine = debian_package("go", "golang-go")
    version = re.search(r"go(\d+)\.(\d+)", run(machine, "version", cwd=PROGRAMS))
    assert version
    if (int(version[1]), int(version[2])) >= GO_NEEDED:
        return machine
    module = GO_TOOLCHAIN.format(ARCHITECTURES[os.uname().machine])
    root = Path(json.loads(run(machine, "mod", "download", "-json", module, cwd=CACHE))["Dir"])
    for folder in (root / "bin", root / "pkg/tool"):
        # Modules hold no executable files: Go sets the bits itself only from 1.21 on.
        run("chmod", "-R", "u+w,a+x", folder, cwd=CACHE)
    return str(root / "bin/go")


def copied(name: str) -> Path:
    """The program's folder outside the repository, where what it needs is kept for the next time."""
    folder = CACHE / name
    shutil.copytree(PROGRAMS / name, folder, dirs_exist_ok=True)
    return folder


def test_the_providers_go_sdk_works_unchanged(lab: LabConfig) -> None:
    folder = copied("go")
    run(go(), "build", "-o", "sdk", ".", cwd=folder, GOTOOLCHAIN="local")
    assert "made and unmade" in run(folder / "sdk", lab.api_url.removesuffix("/v2"), lifecycle.api_key(lab), cwd=folder)


def test_the_providers_javascript_sdk_works_unchanged(lab: LabConfig) -> None:
    folder = copied("node")
    node, npm = debian_package("node", "nodejs"), debian_package("npm", "npm")
    if not (folder / "node_modules/@vultr/vultr-node").exists():
        run(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
    assert "made and unmade" in run(node, "main.js", lab.api_url, lifecycle.api_key(lab), cwd=folder)
