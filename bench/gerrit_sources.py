"""What asking 1,000 repositories costs: `python -m bench.gerrit_sources [--json]`. Exits 1 when the aim is missed.

git's own http-backend on this machine serves them, from a process of its own. The audit's engine asks for the refs of a
revision of each, many at once; against `git ls-remote` for one after the other, and for as many at once as there are
cores, which is what a shell script would do.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.contest import Runs, Times, command, one_round, summed, table
from roles.gerrit.tools.sources import ask
from tests.git_server import Forge

CORES = os.cpu_count() or 1
console = Console(stderr=True)
QUIET = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


@contextmanager
def served(root: Path, number: int) -> Iterator[tuple[list[str], str]]:
    """Addresses of repositories that are alike, and their commit."""
    made = Forge(root)
    commit = made.make("r0", {"a": "b\n"})
    for one in range(1, number):
        shutil.copytree(made.folder("r0"), made.folder(f"r{one}"))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.git_server", root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stdout
        port = int(serving.stdout.readline())
        try:
            yield [f"http://127.0.0.1:{port}/r{one}" for one in range(number)], commit
        finally:
            serving.terminate()


def engine(urls: list[str], commit: str) -> None:
    """As an audit does."""
    with ask.anonymous() as session:
        found = ask.ask(session, {url: ["main"] for url in urls}, lambda *_: None)
    assert {ask.commit(one, "main") for one in found.values()} == {commit}


def ls_remote(url: str, commit: str) -> None:
    """Of one."""
    assert commit in command(["git", "ls-remote", url, "refs/heads/main"], env=QUIET)


def at_once(urls: list[str], commit: str) -> None:
    """git for all, as many as there are cores."""
    with ThreadPoolExecutor(CORES) as pool:
        for done in [pool.submit(ls_remote, url, commit) for url in urls]:
            done.result()


def in_turn(urls: list[str], commit: str) -> None:
    """git for one after the other."""
    for url in urls:
        ls_remote(url, commit)


def run(folder: Path, number: int, rounds: int) -> dict[str, Any]:
    """All results."""
    times: Times = {}
    with served(folder, number) as (urls, commit):
        runs: Runs = {
            "audit's engine": lambda: engine(urls, commit),
            "git ls-remote, one after the other": lambda: in_turn(urls, commit),
            f"git ls-remote, {CORES} at once": lambda: at_once(urls, commit),
        }
        for one in range(rounds):
            one_round(one, runs, times, console.print, before=lambda: None)
    found = summed(times)
    ratio = found["git ls-remote, one after the other"]["median_s"] / found["audit's engine"]["median_s"]
    return {"repositories": number, "cores": CORES, "times": found, "faster": ratio, "aims": {"faster": ratio >= CORES}}


def main() -> None:
    """Prints the results for people, or for programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder:
        found = run(Path(folder), given.repositories, given.rounds)
    aims = found["aims"]
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        met = "met" if all(aims.values()) else "missed"
        said = f"{found['repositories']} repositories, {CORES} cores: {found['faster']:.1f} times as fast; aim {met}"
        Console().print(table(found["times"]), said)
    sys.exit(0 if all(aims.values()) else 1)


if __name__ == "__main__":
    main()
