"""docs/adding-a-role.md, followed to the letter in a copy of the project, on a lab of its own."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from lab.engine import LabConfig
from tests.labs import own_lab

REPOSITORY = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^(?P<before>[^\n]*):\n\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COPIED = ("backup", "cloud", "deploys", "inventories", "lab", "roles", "tests", "config.py", "pyproject.toml")


@pytest.fixture(scope="module")
def docs_lab() -> Iterator[LabConfig]:
    with own_lab("docs") as config:
        yield config


@pytest.fixture(scope="module")
def commands(docs_lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """Does what the document says up to its commands, and stays there to run those."""
    copy = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    with contextlib.chdir(copy):
        found = _follow((REPOSITORY / "docs/adding-a-role.md").read_text())
        _point_at(docs_lab, Path("inventories/lab.toml"))
        yield found


def _follow(document: str) -> list[list[str]]:
    """Writes the files of the document where it says, and returns its commands."""
    found: list[list[str]] = []
    for block in BLOCK.finditer(document):
        (*_, name) = re.findall(r"`([\w./-]+\.\w+)`", block["before"]) or [""]
        if block["language"] == "console":
            found += [shlex.split(line) for line in block["text"].splitlines()]
        elif block["before"].startswith("`"):
            assert not Path(name).exists(), f"{name} is there already"
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(block["text"])
        else:
            with Path(name).open("a") as file:
                file.write("\n" + block["text"])
    return found


def _point_at(lab: LabConfig, inventory: Path) -> None:
    """The lab of this test instead of `lab`, and of its hosts only the new one."""
    document: Any = tomlkit.parse(inventory.read_text())
    document["site"]["files"] = str(lab.root / "site")
    document["provider"]["api_url"] = lab.api_url
    for name in [name for name in document["hosts"] if name != "hello-1"]:
        del document["hosts"][name]
    inventory.write_text(tomlkit.dumps(document))


def _run(words: list[str], *more: str) -> str:
    program = str(Path(sys.executable).with_name(words[0]))
    done = subprocess.run(
        [program, *words[1:], *more],
        env=os.environ | {"PYTHONPATH": str(Path.cwd()), "PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def _changed(output: str) -> list[str]:
    return [operation["name"] for operation in json.loads(output)["results"]["operations"] if operation["success"]]


@pytest.mark.lab
def test_the_role_of_the_document_works_and_a_second_run_changes_nothing(commands: list[list[str]]) -> None:
    python = ["roles/hello", "deploys/hello.py", "tests/roles/test_hello.py"]
    _run(["ruff", "check", *python])
    _run(["ruff", "format", "--check", *python])
    _run(["mypy", *python])
    provision, site, suite = commands
    _run(provision, "-y")
    assert _changed(_run(site, "-y", "--json"))
    assert "2 passed" in _run(suite)
    assert _changed(_run(site, "-y", "--json")) == []
    assert _changed(_run(["pyinfra", site[1], "deploys/hello.py"], "-y", "--json")) == []


@pytest.mark.lab
def test_a_new_greeting_is_served_after_one_deploy_of_the_role(commands: list[list[str]]) -> None:
    inventory = Path("inventories/lab.toml")
    inventory.write_text(inventory.read_text().replace("Good morning", "Good night"))
    assert len(_changed(_run(["pyinfra", "inventories/lab.py", "deploys/hello.py"], "-y", "--json"))) == 2
    assert "2 passed" in _run(commands[-1])
