"""What `mainstay` says of itself, and how little it loads for that."""

import subprocess
import sys

import pytest

from cli.main import GROUPS
from cloud.converge import REPOSITORY


def helped(*words: str) -> str:
    words = (sys.executable, "-m", "cli.main", *words, "--help")
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("words", [(), *((name,) for name in GROUPS), ("gerrit", "upgrade"), ("hsm", "shares")])
def test_every_command_is_listed_with_a_whole_sentence(words: tuple[str, ...]) -> None:
    listed = helped(*words).partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


def test_what_takes_long_to_load_is_not_loaded_for_help() -> None:
    script = "import sys; sys.argv = ['mainstay', '--help']\ntry:\n    from cli.main import main; main()\n"
    script += "finally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    loaded = set(done.stderr.split())
    assert "cli.main" in loaded
    assert not {"rich", "requests", "pyinfra", "pydantic", "cryptography", "concurrent.futures"} & loaded
