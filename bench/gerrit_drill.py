"""What a drill of Gerrit costs: `python -m bench.gerrit_drill [--json]`, as root. Exits 1 when the aim is missed.

In a lab of its own, with a Gerrit of a few changes and a vault: whole drills by the very command, after a first one,
which fills the lab's cache of packages. The restore is left out: it depends on how much is saved.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from backup.drills import book
from backup.drills.report import PHASES, Report
from bench.contest import BenchError
from bench.drill import mainstay, say
from inventories.inventory import load_site
from lab import lifecycle, tools
from tests.gerrit_content import fill
from tests.gerrit_site import HOST, VAULT, VERSION, derived
from tests.saved_site import Saved

LAB = "bench-gerrit-drill"
DATA = f"{HOST}:gerrit"
ONCE_S = 120
"""Seconds that all but the restore may take."""


@contextmanager
def built(work: Path) -> Iterator[Path]:
    """The lab's site with a first backup, for as long as it lasts; yields its inventory."""
    lifecycle.down(LAB)
    lab = lifecycle.up(LAB, prepared=True)
    try:
        os.environ["MAINSTAY_RESTIC"] = tools.restic()
        made = Saved(derived(lab, work / "site", VERSION, VAULT), work / "site", lab)
        made.must("keys")
        say("provision, site")
        made.deploy("provision", "site")
        fill(made)
        mainstay(made.inventory, "backup", "run", DATA)
        yield made.inventory
    finally:
        lifecycle.down(LAB)


def drills(inventory: Path, rounds: int) -> list[Report]:
    """As many as asked for, after one that is not counted; newest first."""
    for number in range(rounds + 1):
        say(f"drill {number} of {rounds}")
        mainstay(inventory, "drill", "run", DATA)
    return book.reports(book.folder(load_site(inventory)), say)[:rounds]


def took(report: Report, *phases: str) -> float:
    return sum(run.seconds for run in report.phases if run.name in phases)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="drills that count (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mainstay-bench-", dir="/var/tmp") as scratch,
            built(Path(scratch)) as made,
        ):
            reports = drills(made, options.rounds)
    except (BenchError, AssertionError) as error:
        Console(stderr=True).print(str(error), markup=False)
        return 1
    seconds = [took(report, *PHASES) - took(report, "restore") for report in reports]
    reached = statistics.median(seconds)
    result: dict[str, Any] = {
        "cores": os.cpu_count(),
        "without_restore_s": seconds,
        "phases": {name: statistics.median(took(report, name) for report in reports) for name in PHASES},
        "checks": {run.name: run.seconds for run in reports[0].checks},
        "aim": {"reached": reached, "allowed": ONCE_S, "met": reached <= ONCE_S},
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        table = Table("phase, or check", "seconds")
        for name, value in [*result["phases"].items(), *result["checks"].items()]:
            table.add_row(name, f"{value:.1f}")
        Console().print(table)
        print(f"all but the restore: {reached:.1f} s, aim at most {ONCE_S}: {'met' if reached <= ONCE_S else 'missed'}")
    return 0 if reached <= ONCE_S else 1


if __name__ == "__main__":
    sys.exit(main())
