"""What `mainstay` says of itself."""

import json
import subprocess
import sys

import pytest

from cli.main import GROUPS
from cloud.converge import REPOSITORY

COMMANDS = ["", *GROUPS, "gerrit upgrade", "hsm shares"]
SAY = """
import io, json, sys
from contextlib import redirect_stdout, suppress
from cli.main import main
said = {}
for command in json.load(sys.stdin):
    sys.argv = ["mainstay", *command.split(), "--help"]
    with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
        main()
    said[command] = out.getvalue()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """By command, in a process of its own: how help is shown is decided as typer is loaded."""
    words = [sys.executable, "-c", SAY]
    done = subprocess.run(words, cwd=REPOSITORY, input=json.dumps(COMMANDS), capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_listed_with_a_whole_sentence(said: dict[str, str], command: str) -> None:
    listed = said[command].partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed
