"""How long it takes to find that a site is as it should be: `python -m bench.noop [--json]`, as root.

On the same lab hosts, in one run, in turns: the site through the primitives, through pyinfra's own operations, through
Ansible, and at the floor of one empty remote command for each primitive. At 2 hosts all four; at 20 the primitives and
the floor, since Ansible takes ten minutes a run there on 2 cores (--all has it run nevertheless).
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import ansible
from cloud.converge import PYINFRA, REPOSITORY, converge
from inventories.inventory import load_site
from lab import lifecycle
from lab.sites import derive, only

LAB = "bench"
ROLES = ("release", "web")
AIMS = {"ansible / ours": (">=", 12.0), "stock / ours": (">=", 2.0), "ours / floor": ("<=", 2.0)}
SCALE_AIM = 4.0
console = Console(stderr=True)


class BenchError(Exception):
    """A contestant failed, or changed something when nothing was to do."""


@dataclass(frozen=True)
class Contestant:
    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    changed: Callable[[str], list[str]]
    """What it changed, by its output."""

    def once(self) -> tuple[float, str, str]:
        began = time.perf_counter()
        done = subprocess.run(
            self.command,
            cwd=REPOSITORY,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise BenchError(f"{self.name} ends with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return seconds, done.stdout, done.stderr

    def settle(self) -> None:
        """Until it finds nothing to do: contestants write some things differently the first time."""
        changed: list[str] = []
        for _ in range(3):
            changed = self.changed(self.once()[1])
            if not changed:
                return
        raise BenchError(f"{self.name} still changes something in its third run: {', '.join(changed)}")


def _pyinfra_changed(output: str) -> list[str]:
    return [operation["name"] for operation in json.loads(output)["results"]["operations"] if operation["success"]]


def _ansible_changed(output: str) -> list[str]:
    tasks = re.split(r"^TASK ", output.partition("PLAY RECAP")[0], flags=re.MULTILINE)
    return [task.partition("\n")[0] for task in tasks if re.search(r"^changed:", task, re.MULTILINE)]


def pyinfra(name: str, inventory: Path, deploy: str) -> Contestant:
    command = (str(PYINFRA), str(inventory), deploy, "-y", "--json")
    return Contestant(name, command, {"PYINFRA_PROGRESS": "off"}, _pyinfra_changed)


def _fleet(hosts: int) -> Callable[[Any], None]:
    """The lab's site with its release and web server repeated."""

    def change(document: Any) -> None:
        originals = {role: document["hosts"].pop(f"{role}-1") for role in ROLES}
        only(document)
        for number in range(hosts):
            role = ROLES[number % len(ROLES)]
            document["hosts"][f"{role}-{number // len(ROLES) + 1}"] = originals[role].unwrap()

    return change


def _contestants(inventory: Path, playbook_runner: Path, work: Path) -> list[Contestant]:
    site = load_site(inventory)
    recorded = work / "recorded"
    recorded.mkdir(parents=True)
    words = (str(PYINFRA), str(inventory), "bench/sites/record.py", "-y", "--data", f"record_to={recorded}")
    done = subprocess.run(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(done.stdout + done.stderr)
    playbook = ansible.write(site, recorded, work / "ansible")
    environment = {"ANSIBLE_CONFIG": str(work / "ansible/ansible.cfg"), "ANSIBLE_HOME": str(work / "ansible/home")}
    return [
        pyinfra("ours", inventory, "deploys/site.py"),
        pyinfra("floor", inventory, "bench/sites/floor.py"),
        pyinfra("stock", inventory, "bench/sites/stock.py"),
        Contestant("ansible", (str(playbook_runner), str(playbook)), environment, _ansible_changed),
    ]


def measure(contestants: list[Contestant], rounds: int) -> dict[str, dict[str, float]]:
    """Median, best and worst seconds of each, taken in turns so that the machine's moods hit all alike."""
    for contestant in contestants:
        console.print(f"  {contestant.name}: settling")
        contestant.settle()
    times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        for contestant in contestants:
            seconds, output, said = contestant.once()
            if changed := contestant.changed(output):
                raise BenchError(f"{contestant.name} changed something: {', '.join(changed)}\n{said}")
            times[contestant.name].append(seconds)
            console.print(f"  round {number + 1}: {contestant.name} {seconds:.2f} s")
    return {
        name: {"median_s": statistics.median(all_), "best_s": min(all_), "worst_s": max(all_)}
        for name, all_ in times.items()
    }


def ratios(measured: dict[int, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Every aim with what was reached."""
    found = []
    for hosts, results in measured.items():
        for name, (sign, aim) in AIMS.items():
            left, right = name.split(" / ")
            if left not in results:
                continue
            value = results[left]["median_s"] / results[right]["median_s"]
            met = value >= aim if sign == ">=" else value <= aim
            found.append({"ratio": f"{name}, {hosts} hosts", "value": value, "aim": f"{sign} {aim:g}", "met": met})
    few, many = min(measured), max(measured)
    if few != many:
        value = measured[many]["ours"]["median_s"] / measured[few]["ours"]["median_s"]
        name = f"{many} / {few} hosts, ours"
        found.append({"ratio": name, "value": value, "aim": f"<= {SCALE_AIM:g}", "met": value <= SCALE_AIM})
    return found


def run(sizes: list[int], rounds: int, *, everybody: bool) -> dict[str, Any]:
    """Brings a lab up, measures on it, takes it down."""
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as scratch:
        work = Path(scratch)
        runner = ansible.install(work)
        lifecycle.down(LAB)
        lab = lifecycle.up(LAB)
        try:
            whole = derive(lab, work / "all", _fleet(max(sizes)))
            for deploy in ("provision", "site"):
                console.print(f"{deploy}: {max(sizes)} hosts")
                done = converge(whole, deploy)
                if not done.ok:
                    raise BenchError(done.output)
            measured = {}
            for hosts in sizes:
                console.print(f"{hosts} hosts")
                inventory = derive(lab, work / f"of{hosts}", _fleet(hosts))
                contestants = _contestants(inventory, runner, work / f"work{hosts}")
                if hosts > min(sizes) and not everybody:
                    contestants = [one for one in contestants if one.name in ("ours", "floor")]
                measured[hosts] = measure(contestants, rounds)
            return {"cores": os.cpu_count(), "rounds": rounds, "seconds": measured, "ratios": ratios(measured)}
        finally:
            lifecycle.down(LAB)


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"No-op converge, seconds (median of {result['rounds']}; best - worst)")
    for column in ("hosts", "ours", "floor", "stock", "ansible"):
        table.add_column(column, justify="right")
    for hosts, results in result["seconds"].items():
        cells = [f"{one['median_s']:.2f} ({one['best_s']:.2f} - {one['worst_s']:.2f})" for one in results.values()]
        cells += ["-"] * (4 - len(cells))
        table.add_row(str(hosts), *cells)
    aims = Table()
    for column in ("ratio", "reached", "aim", ""):
        aims.add_column(column)
    for one in result["ratios"]:
        aims.add_row(one["ratio"], f"{one['value']:.2f}", one["aim"], "met" if one["met"] else "missed")
    out = Console()
    out.print(table)
    out.print(aims)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", default="2,20", help="sizes of the site to measure (default: 2,20)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant at each size (default: 5)")
    parser.add_argument("--all", action="store_true", help="all contestants at every size")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    try:
        result = run([int(size) for size in options.hosts.split(",")], options.rounds, everybody=options.all)
    except BenchError as error:
        console.print(str(error), markup=False)
        return 1
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
