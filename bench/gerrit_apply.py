"""What `mainstay gerrit apply` costs when nothing differs: `python -m bench.gerrit_apply [--json]`.

A Gerrit in a lab of its own holds 600 projects and 60 groups as they are declared. The command is timed as an admin
calls it, on a machine that remembers what it has seen and on one that has seen nothing; and what the server is asked is
counted. Exits 1 when an aim is missed.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.contest import Times, command, one_round, summed, table
from roles.gerrit.tools.access import planning
from tests.gerrit_access import Reviewed, reviewed
from tests.gerrit_site import gerrit_site
from tests.labs import end_kept_labs

console = Console(stderr=True)
PROJECTS, GROUPS, AT_MOST_S, ASKED_AT_MOST = 600, 60, 20, 0.1
"""Projects there are; seconds, and requests a project, of an apply that changes nothing."""


def declare(gerrit: Reviewed) -> None:
    """As many projects as there are to be, with those of the example."""
    site = gerrit.site.files
    number = PROJECTS - 8
    (site / "platform.txt").write_text("".join(f"platform/project-{one:03}\n" for one in range(number)))
    groups = "".join(f'[groups."team {one}"]\nmembers = ["bob"]\n' for one in range(GROUPS))
    gerrit.file.write_text(f"{gerrit.file.read_text()}\n{groups}")


def measure(rounds: int) -> dict[str, Any]:
    times: Times = {}
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder:
        for saved in gerrit_site(Path(folder)):
            gerrit = reviewed(saved, Path(folder))
            declare(gerrit)
            began = time.perf_counter()
            gerrit.apply()
            made_s = time.perf_counter() - began
            console.print(f"made {PROJECTS} projects in {made_s:.0f} s")
            words = [str(Path(__file__).parent.parent / "bin/mainstay"), "gerrit", "apply", "--yes"]

            def run(state: Path) -> str:
                return command(words, env={**gerrit.environment, "XDG_STATE_HOME": str(state)})  # noqa: B023

            for number in range(rounds):
                fresh = Path(folder, f"fresh-{number}")
                runs = {"as always": lambda: run(gerrit.state), "first time": lambda: run(fresh)}  # noqa: B023
                one_round(number, runs, times, console.print)
            with gerrit.way() as way:
                planning.plan(way)
                first, way.server.asked = way.server.asked, 0
                planning.plan(way)
                asked = way.server.asked
    found = summed(times)
    return {
        "projects": PROJECTS,
        "made_s": made_s,
        "times": found,
        "asked": {"as always": asked, "first time": first},
        "met": found["as always"]["median_s"] < AT_MOST_S and asked / PROJECTS < ASKED_AT_MOST,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    try:
        found = measure(given.rounds)
    finally:
        end_kept_labs()
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        Console().print(table(found["times"]))
        for name, number in found["asked"].items():
            print(f"{name}: {number} requests for {PROJECTS} projects")
    sys.exit(0 if found["met"] else 1)


if __name__ == "__main__":
    main()
