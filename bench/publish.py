"""What publishing costs: `python -m bench.publish [--json]`, as root. Exits 1 when the aim is missed.

In a lab of its own with two release servers, whose links carry so many Mbit/s: `mainstay release publish` of a release
that nobody has seen, from its check here to its look as phones see it, against bare rsync of the same files to both
servers at once, in turns.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from backup.reach import reach
from bench.contest import BenchError, Times, command, one_round, summed
from cloud.converge import converge
from inventories.inventory import load_site
from lab import lifecycle, load
from roles.common.publishing.servers import Place
from roles.release.tools.places import servers
from tests.publishing_site import SERVERS, Publishing, derived

LAB = "bench-publish"
RATIO = 0.9
"""Of bare rsync's rate."""
PUBLISH, RSYNC = "mainstay release publish", "rsync"
BARE = "bare"
"""Folder of a server that rsync alone brings files to."""
console = Console(stderr=True)


@contextmanager
def built(work: Path, mbit: int) -> Iterator[Publishing]:
    """The servers with the sample's archive, behind links of that rate, for as long as it lasts."""
    lifecycle.down(LAB)
    lab = lifecycle.up(LAB)
    try:
        site = Publishing(derived(lab, work / "site"), work, lab)
        for deploy in ("provision", "release"):
            console.print(f"  {deploy}")
            done = converge(site.inventory, deploy)
            if not done.ok:
                raise BenchError(done.output)
        load.content(load_site(site.inventory))
        for host in SERVERS:
            site.limit_link(host, mbit)
        yield site
    finally:
        lifecycle.down(LAB)


def rsync(folder: Path, place: Place) -> None:
    """The same files to one server, by its same way in. Raises BenchError."""
    words = ["rsync", "--recursive", "--times", *place.shell, f"{folder}/", f"{place.prefix}{place.root}/{BARE}/"]
    command(words)


def contest(site: Publishing, rounds: int, megabytes: int) -> Times:
    """Seconds of each; every round publishes a release of its own."""
    times: Times = {}
    with reach(load_site(site.inventory)) as way:
        places = servers(way)
        for number in range(rounds):
            folder, _ = site.built(("panther",), full_bytes=megabytes * 1_000_000)

            def both(folder: Path = folder) -> None:
                with ThreadPoolExecutor(len(places)) as pool:
                    list(pool.map(lambda place: rsync(folder, place), places))

            def publish(folder: Path = folder) -> None:
                site.done("publish", folder)

            for host in SERVERS:
                site.root(host, f"rm -rf /srv/release/{BARE} && install -d -o release /srv/release/{BARE}")
            one_round(number, {PUBLISH: publish, RSYNC: both}, times, console.print)
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the results for people, or for programs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mbit", type=int, default=100, help="a second, of each server's link (default: 100)")
    parser.add_argument("--size", type=int, default=200, metavar="MB", help="of a full package (default: 200)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mainstay-bench-", dir="/var/tmp") as scratch,
            built(Path(scratch), given.mbit) as site,
        ):
            sums = summed(contest(site, given.rounds, given.size))
    except (BenchError, subprocess.SubprocessError) as error:
        console.print(str(error), markup=False)
        return 1
    ratio = sums[RSYNC]["median_s"] / sums[PUBLISH]["median_s"]
    found: dict[str, Any] = {"mbit": given.mbit, "size_mb": given.size, "times": sums, "ratio": ratio}
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        table = Table(f"links of {given.mbit} Mbit/s", "seconds, median (best - worst)")
        for name, one in sums.items():
            table.add_row(name, "{median_s:.1f} ({best_s:.1f} - {worst_s:.1f})".format(**one))
        out = Console()
        out.print(table)
        out.print(f"rate, publish / rsync: {ratio:.2f}; aim: at least {RATIO}")
    return 0 if ratio >= RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
