"""The provider's own SDKs, unchanged, pointed at the lab: each makes a small site and unmakes it (tests/e2e/sdk)."""

import shutil
from pathlib import Path

import pytest

from lab import lifecycle
from lab.command import BASE
from lab.engine import LabConfig
from lab.go import debian_package, go, run

pytestmark = pytest.mark.lab

PROGRAMS = Path(__file__).parent / "sdk"
CACHE = BASE / "cache/sdk"


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
