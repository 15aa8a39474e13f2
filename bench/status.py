"""What `mainstay status` of hosts costs: `python -m bench.status [--json]`. Exits 1 when the aim is missed.

A stand-in for ssh replays what a host said of itself, after the time that a log-in takes: hosts' own work is not in it.
Sites of 2, 20 and 50 hosts are asked, judged and made into a page, against one empty command for each host by the same
stand-in and as many at once.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from backup.reach import answer, reach
from bench.contest import Times, one_round, summed, table
from cloud.converge import REPOSITORY
from doctor.hosts import AT_ONCE
from inventories.inventory import LoadedSite, load_site
from inventories.keys import new_ssh, public_ssh
from inventories.lock import Lock, LockedHost, save
from status import asked, hosts, page, site

SAID = REPOSITORY / "tests/unit/host_said.json"
LOGIN_S = 0.1
AIM, MORE_S = 2.0, 0.5
"""At most so many times as long, or so much longer: what a look costs besides is the page's, and the same for all."""
SIZES = (2, 20, 50)
console = Console(stderr=True)


@contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    """For ssh."""
    way = folder / "ssh"
    way.write_text(f"#!/bin/sh\nsleep {LOGIN_S}\ncase $* in *python3*) cat >/dev/null; cat {SAID};; esac\n")
    way.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def fleet(folder: Path, number: int) -> LoadedSite:
    """A site of so many hosts, which nobody has provisioned but its lock file."""
    names = [f"base-{one + 1}" for one in range(number)]
    declared = "".join(f'[hosts.{name}]\nrole = "base"\nplan = "p"\nregion = "ams"\n' for name in names)
    path = folder / f"of{number}.toml"
    path.write_text(f'[site]\nname = "of{number}"\ndomain = "example.org"\n{declared}')
    own = folder / f"of{number}"
    own.mkdir()
    key = public_ssh(new_ssh())
    (own / "admins.toml").write_text(f'[admins.alice]\nssh_keys = ["{key}"]\n')
    locked = {name: LockedHost(instance_id=name, ipv4="192.0.2.1", host_keys=(key,)) for name in names}
    save(own / "lock.json", Lock(hosts=locked))
    return load_site(path)


def whole(of: LoadedSite) -> None:
    """Asked, judged and made into a page."""
    seen = site.look(of, [hosts.SOURCE])
    assert not seen.looked[0].why, seen.looked[0].why
    assert {row.data["seen"] for row in seen.looked[0].seen.tables[0].rows} == {True}
    page.render(seen)


def empty(of: LoadedSite) -> None:
    """One empty command for each."""
    with reach(of) as way, ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: answer(way.admin(name, "true"), name, asked.ASK_S), asked.hosts(of)))


def run(folder: Path, rounds: int) -> dict[str, Any]:
    """All results."""
    times: Times = {}
    with standing_in(folder):
        for number in SIZES:
            of = fleet(folder, number)
            names = {f"status, {number} hosts": whole, f"an empty command each, {number} hosts": empty}
            runs = {name: lambda do=do, of=of: do(of) for name, do in names.items()}
            for one in range(rounds):
                one_round(one, runs, times, console.print, before=lambda: None)
    found = summed(times)
    ratios = {
        str(number): found[f"status, {number} hosts"]["median_s"]
        / found[f"an empty command each, {number} hosts"]["median_s"]
        for number in SIZES
    }
    more = {
        str(number): found[f"status, {number} hosts"]["median_s"]
        - found[f"an empty command each, {number} hosts"]["median_s"]
        for number in SIZES
    }
    met = all(ratios[name] <= AIM or more[name] <= MORE_S for name in ratios)
    return {"cores": os.cpu_count(), "times": found, "ratios": ratios, "more_s": more, "met": met}


def main() -> None:
    """Prints the results for people, or for programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mainstay-bench-"))
    try:
        found = run(folder, given.rounds)
    finally:
        shutil.rmtree(folder)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        ratios = ", ".join(f"{ratio:.2f} for {number} hosts" for number, ratio in found["ratios"].items())
        Console().print(
            table(found["times"]), f"status / an empty command each: {ratios}; at most {AIM:g}, or {MORE_S:g} s more"
        )
    sys.exit(0 if found["met"] else 1)


if __name__ == "__main__":
    main()
