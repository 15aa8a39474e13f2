"""How long a look for drift takes: `python -m bench.drift --inventory PATH [--hosts 2,20,50] [--json]`, on any site.

On its hosts, in turns: the look, and at the floor one empty remote command for each host. And of as many hosts as are
asked for, by answers recorded from these, what this machine does itself: plans each deploy and compares. Reads only.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from typing import Any

from rich.console import Console

from backup.reach import Reach, answer, reach
from drift.asking import AT_ONCE, PATIENCE_S, ask
from drift.look import hosts
from drift.planned import Planned
from inventories.inventory import LoadedSite, load_site

WITHIN_S, FLOOR_AIM = 60.0, 10.0
"""Aims: 50 hosts' own part, a quarter of that; and the look on hosts at most so many times the floor."""


def seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def floor(way: Reach, names: list[str]) -> None:
    """One empty command on each, at once."""

    def empty(name: str) -> None:
        answer(way.admin(name, "sudo", "-n", "true"), name, PATIENCE_S)

    with ThreadPoolExecutor(AT_ONCE) as asking:
        list(asking.map(empty, names))


def own(site: LoadedSite, said: dict[str, Any], count: int) -> None:
    """All but the waiting, for so many hosts."""
    for name in islice(cycle(said), count):
        Planned(site, name).take(said[name]["looks"])


def measure(site: LoadedSite, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Medians in seconds."""
    names = [*site.fleet.hosts]
    times: dict[str, list[float]] = {}
    with reach(site) as way:
        planned = {name: Planned(site, name) for name in names}
        said = {name: ask(way, name, one.questions() | {"declared": one.declared()}) for name, one in planned.items()}
        for _ in range(rounds):
            times.setdefault("look", []).append(seconds(lambda: [*hosts(site, names, partial(ask, way))]))
            times.setdefault("floor", []).append(seconds(partial(floor, way, names)))
            for count in sizes:
                times.setdefault(f"own part, {count} hosts", []).append(seconds(partial(own, site, said, count)))
    medians = {name: statistics.median(all_) for name, all_ in times.items()}
    ratio = medians["look"] / medians["floor"]
    most = medians[f"own part, {max(sizes)} hosts"]
    met = ratio <= FLOOR_AIM and most * 50 / max(sizes) <= WITHIN_S / 4
    return {"hosts": len(names), "seconds": medians, "look / floor": ratio, "met": met}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inventory", required=True, help="the site, like inventories/prod.py")
    parser.add_argument("--hosts", default="2,20,50", help="how many hosts to compare (default: 2,20,50)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    options = parser.parse_args()
    result = measure(load_site(options.inventory), [int(size) for size in options.hosts.split(",")], options.rounds)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, taken in result["seconds"].items():
            Console().print(f"{name}: {taken:.2f} s")
        Console().print(f"look / floor, {result['hosts']} hosts: {result['look / floor']:.1f}")
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
