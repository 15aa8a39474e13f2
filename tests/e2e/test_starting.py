"""What programs load, and what they refuse, as they start."""

import subprocess
import sys
from pathlib import Path

import pytest

from cloud.converge import PYINFRA, REPOSITORY

TWO = """
here, away = ["@local"], [("away", {"ssh_hostname": "127.0.0.1", "ssh_port": 1})]
"""


@pytest.mark.parametrize("options", [[], ["--serial"]])
def test_with_a_host_that_is_not_reached_none_is_begun(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "two.py").write_text(TWO)
    made = tmp_path / "made"
    deploy = tmp_path / "deploy.py"
    deploy.write_text(f"from pyinfra.operations import server\nserver.shell(commands=['touch {made}'], _sudo=False)\n")
    words = [str(PYINFRA), str(tmp_path / "two.py"), str(deploy), "-y", *options]
    done = subprocess.run(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, made.exists()) == (1, False), done.stderr
    assert "unreachable: away" in done.stderr
    assert "Over 0% of hosts failed" in done.stderr


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "import cli.main; assert not {'pyinfra', 'paramiko'} & sys.modules.keys()", id="mainstay loads neither"
        ),
        pytest.param(
            "import runpy; sys.argv = ['mainstay', 'release', 'sync', '--help']\n"
            "try: runpy.run_module('cli.main', run_name='__main__')\n"
            "except SystemExit: assert not {'cli.backup', 'cli.release.auditing'} & sys.modules.keys()",
            id="mainstay loads no command but the one that was given",
        ),
        pytest.param(
            "import pyinfra.api; from inventories.errors import InputError; "
            "assert issubclass(InputError, pyinfra.api.exceptions.PyinfraError)",
            id="pyinfra knows the error as its own",
        ),
    ],
)
def test_only_what_is_needed_is_loaded(code: str) -> None:
    """pyinfra takes half a second, and all commands another one."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", ["there", "elsewhere"])
def test_pyinfra_tells_bad_input_without_a_traceback(tmp_path: Path, where: str) -> None:
    site = REPOSITORY / ("inventories/prd.py" if where == "there" else "inventories/prod.py")
    done = subprocess.run(
        [PYINFRA, str(site), str(REPOSITORY / "deploys/site.py"), "-y"],
        cwd=REPOSITORY if where == "there" else tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "start it in" in done.stderr or "no such file" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_what_takes_long_to_load_is_not_loaded_for_help() -> None:
    script = "import sys; sys.argv = ['mainstay', '--help']\ntry:\n    from cli.main import main; main()\n"
    script += "finally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    loaded = set(done.stderr.split())
    assert "cli.main" in loaded
    assert not {"rich", "requests", "pyinfra", "pydantic", "cryptography", "concurrent.futures"} & loaded
