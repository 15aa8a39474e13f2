"""What a drill costs: `python -m bench.drill [--json]`, as root. Exits 1 when an aim is missed.

In a lab of its own, with a release server, a web server and a vault: whole drills by the very command, one alone and
two at once, in turns; then, on one throwaway host and of the same snapshot, a drill's restore against bare restic, in
turns; and the page of many past drills, which needs no host.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from backup.agent.command import STATE
from backup.custody import DataSet, recovery
from backup.drills import account, book, choosing, own_site, page, steps
from backup.drills.choosing import Asked
from backup.drills.course import TROUBLE
from backup.drills.glance import glance
from backup.drills.overdue import Wanted as Proof
from backup.drills.own_site import Wanted
from backup.drills.report import PHASES, Report
from backup.drills.restored import OnHost
from backup.drills.steps import Deadline
from backup.reach import reach
from backup.sizes import size
from backup.store import VAULT
from bench.backup import make_data
from bench.contest import BenchError, Runs, Times, command, one_round, summed
from cloud.converge import REPOSITORY, converge
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import configured
from lab import lifecycle, load, tools
from lab.sites import derive, only
from tests.unit import drills
from tests.unit.ledgers import at

LAB = "bench-drill"
RELEASE, WEB = DataSet("release-1", "release"), DataSet("web-1", "web")
BOTH = "both at once"
SHARE, ONCE_S, TWO, PAGE_S, PAGE_BYTES = 1.1, 60, 1.3, 1.0, 1_000_000
HOURS = 6
BARE = """
import json, os, sys
plan, snapshot, target, cache = sys.argv[1:]
with open(plan) as file:
    known = json.load(file)
os.environ |= {
    "RESTIC_REPOSITORY": known["url"], "RESTIC_PASSWORD": known["password"], "RESTIC_CACERT": known["ca"],
    "RESTIC_CACHE_DIR": cache,
}
os.execvp("restic", ["restic", "restore", snapshot, "--quiet", "--target", target])
"""
"""restic as somebody would call it by hand."""
console = Console(stderr=True)


def say(line: str) -> None:
    console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def mainstay(inventory: Path, *words: str) -> str:
    """A command of `mainstay`, as an admin gives it."""
    return command([str(REPOSITORY / "bin/mainstay"), *words], env=os.environ | {"MAINSTAY_INVENTORY": str(inventory)})


@contextmanager
def built(work: Path) -> Iterator[Path]:
    """The lab's site with a first backup of each data set, for as long as it lasts; yields its inventory."""
    lifecycle.down(LAB)
    lab = lifecycle.up(LAB)
    try:
        os.environ["MAINSTAY_RESTIC"] = tools.restic()
        inventory = derive(lab, work / "site", lambda document: only(document, RELEASE.host, WEB.host, "vault-1"))
        mainstay(inventory, "backup", "keys")
        for deploy in ("provision", "site"):
            say(deploy)
            done = converge(inventory, deploy)
            if not done.ok:
                raise BenchError(done.output)
        load.content(load_site(inventory))
        for data_set in (RELEASE, WEB):
            mainstay(inventory, "backup", "run", str(data_set))
        yield inventory
    finally:
        lifecycle.down(LAB)


def whole(inventory: Path, rounds: int) -> dict[str, Any]:
    """Seconds of whole drills, and of the phases of those that had the machine for themselves."""
    site = load_site(inventory)
    found: dict[str, list[Report]] = {}

    def drill(name: str, *data_sets: DataSet) -> None:
        known = {report.id for report in book.reports(book.folder(site), say)}
        mainstay(inventory, "drill", "run", *map(str, data_sets))
        found.setdefault(name, []).extend(one for one in book.reports(book.folder(site), say) if one.id not in known)

    contestants = {str(RELEASE): (RELEASE,), str(WEB): (WEB,), BOTH: (RELEASE, WEB)}
    runs: Runs = {name: partial(drill, name, *data_sets) for name, data_sets in contestants.items()}
    times: Times = {}
    say("a first drill of each, which fills the lab's cache of packages")
    runs[BOTH]()
    found.clear()
    for number in range(rounds):
        one_round(number, runs, times, say)
    alone = {name: found[name] for name in (str(RELEASE), str(WEB))}
    return {
        "seconds": summed(times),
        "phases": {name: _phases(reports) for name, reports in alone.items()},
        "without_restore": {
            name: [took - _took(report, "restore") for (took, _), report in zip(times[name], reports, strict=True)]
            for name, reports in alone.items()
        },
    }


def _phases(reports: Sequence[Report]) -> dict[str, float]:
    return {name: statistics.median(_took(report, name) for report in reports) for name in PHASES}


def _took(report: Report, phase: str) -> float:
    return sum(run.seconds for run in report.phases if run.name == phase)


def fill(inventory: Path, work: Path, megabytes: int) -> None:
    """So much more data on the release server, and a backup of it."""
    make_data(work / "data", megabytes)
    with (
        configured(load_site(inventory)) as config,
        subprocess.Popen(["tar", "-c", "-C", str(work), "data"], stdout=subprocess.PIPE) as packing,
    ):
        unpack = f"sudo -u {RELEASE.plan} tar -x -C {recovery(RELEASE.plan).root}/public"
        words = ["ssh", "-F", str(config), RELEASE.host, unpack]
        done = subprocess.run(words, stdin=packing.stdout, capture_output=True, text=True, check=False)
    if done.returncode or packing.returncode:
        raise BenchError(done.stderr)
    mainstay(inventory, "backup", "run", str(RELEASE))


@contextmanager
def throwaway(site: LoadedSite, data_set: DataSet, scratch: Path) -> Iterator[OnHost]:
    """A host as a drill makes it, with nothing restored yet."""
    now = datetime.now(UTC)
    name = account.site_name(f"{now:%y%m%d-%H%M}-bnch", now + timedelta(hours=HOURS))
    asked = Asked(data_set, VAULT, full=True)
    with reach(site) as way, choosing.chosen(way, asked, own_site.drill_of(data_set.plan), say) as chosen:
        wanted = Wanted(site, name, VAULT, (data_set,), {data_set.host: chosen.bytes})
    try:
        own_site.make(wanted, scratch)
        own, _ = steps.host(wanted, scratch, say)
        steps.deploy(own, _deadline())
        with steps.on_host(site, own, data_set, chosen, 0, scratch) as on:
            yield on
    finally:
        account.destroy(site, [name], say)


def _deadline() -> Deadline:
    return Deadline(time.monotonic() + HOURS * 3600)


def restores(on: OnHost, rounds: int) -> dict[str, Any]:
    """A drill's restore, and bare restic, each with an empty cache onto an empty volume."""
    plan, root = on.data_set.plan, on.root
    target, caches = f"{root}/.bare", (f"{STATE}/{plan}/cache", "/var/cache/bare")
    given = (f"/etc/mainstay/backup/{plan}.json", on.chosen.snapshot.id, target, caches[1])
    runs: Runs = {
        "drill": lambda: steps.restore(on.way, on.data_set, on.chosen, _deadline(), say, lambda *_: None),
        "restic": lambda: on.sh(f'exec python3 -I -c {shlex.quote(BARE)} "$@"', *given, timeout_s=3600),
    }

    def empty() -> None:
        on.sh('find "$1" -mindepth 2 -delete; shift; rm -rf "$@"; sync', root, target, *caches)

    times: Times = {}
    say("a first restore, which has the vault's disk read what is restored")
    runs["restic"]()
    for number in range(rounds):
        one_round(number, runs, times, say, before=empty)
    return {"bytes": on.chosen.bytes, "files": len(on.chosen.wanted), "seconds": summed(times)}


def past(work: Path, count: int, rounds: int) -> dict[str, Any]:
    """Reading so many reports from disk, and writing their page: seconds, and its bytes. Every tenth drill failed."""
    asked = [Proof(name) for name in ("release-1:release", "web-1:web", "control-1:control")]
    good = {"checks": tuple(drills.check(f"check-{one}") for one in range(9))}
    bad = {"log": "restic: a line of what it said\n" * 200}
    for number in range(count):
        make, more = (drills.report, good) if number % 10 else (drills.failed, bad)
        report = make(-1 - number, id=f"d{number}", data_set=asked[number % len(asked)].data_set, **more)
        folder = work / report.id
        folder.mkdir(parents=True)
        (folder / book.REPORT).write_text(report.model_dump_json())
    now, target, seconds = at(0), work / "drills.html", []
    for _ in range(rounds):
        began = time.perf_counter()
        page.write(target, glance(asked, book.reports(work, say), now), now, "bench")
        seconds.append(time.perf_counter() - began)
    return {"drills": count, "seconds": seconds, "bytes": target.stat().st_size}


def aims(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every aim with what was reached, by medians."""
    restored, times, many = (found[name] for name in ("restores", "whole", "past"))
    medians = {name: one["median_s"] for name, one in times["seconds"].items()}
    one = max(medians[str(RELEASE)], medians[str(WEB)])
    judged = [
        ("restore: drill / bare restic", _ratio(restored["seconds"], "drill", "restic"), SHARE),
        *(
            (f"{name}: all but the restore, s", statistics.median(seconds), ONCE_S)
            for name, seconds in times["without_restore"].items()
        ),
        ("two drills at once / one", medians[BOTH] / one, TWO),
        (f"page of {many['drills']} drills, s", statistics.median(many["seconds"]), PAGE_S),
        (f"page of {many['drills']} drills, bytes", many["bytes"], PAGE_BYTES),
    ]
    return [{"aim": aim, "reached": value, "allowed": most, "met": value <= most} for aim, value, most in judged]


def _ratio(seconds: dict[str, dict[str, float]], ours: str, theirs: str) -> float:
    return seconds[ours]["median_s"] / seconds[theirs]["median_s"]


def show(result: dict[str, Any]) -> None:
    out = Console()
    restored, times = result["restores"], result["whole"]
    what = f"restore of {size(restored['bytes'])} in {restored['files']:,} paths"
    spans = Table(f"median of {result['rounds']} (best - worst)", "seconds")
    seconds = times["seconds"] | {f"{what}, {who}": one for who, one in restored["seconds"].items()}
    for name, one in seconds.items():
        spans.add_row(name, "{median_s:.2f} ({best_s:.2f} - {worst_s:.2f})".format(**one))
    phases = Table("phase, median s", *times["phases"])
    for phase in PHASES:
        phases.add_row(phase, *(f"{of[phase]:.1f}" for of in times["phases"].values()))
    judged = Table("aim", "reached", "at most", "")
    for one in result["aims"]:
        reached, most = (f"{one[key]:,.{0 if one[key] >= 1000 else 2}f}" for key in ("reached", "allowed"))
        judged.add_row(one["aim"], reached, most, "met" if one["met"] else "missed")
    for table in (spans, phases, judged):
        out.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant (default: 3)")
    parser.add_argument(
        "--megabytes", type=int, default=4000, help="more to restore than the lab's sample (default: 4000)"
    )
    parser.add_argument("--reports", type=int, default=500, help="past drills of the page (default: 500)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="mainstay-bench-", dir="/var/tmp") as scratch:
            work = Path(scratch)
            many = past(work / "past", options.reports, options.rounds)
            with built(work) as inventory:
                times = whole(inventory, options.rounds)
                fill(inventory, work, options.megabytes)
                with throwaway(load_site(inventory), RELEASE, work / "drill") as on:
                    restored = restores(on, options.rounds)
    except (BenchError, *TROUBLE) as error:
        console.print(str(error), markup=False)
        return 1
    result = {"cores": os.cpu_count(), "rounds": options.rounds, "restores": restored, "whole": times, "past": many}
    result["aims"] = aims(result)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0 if all(one["met"] for one in result["aims"]) else 1


if __name__ == "__main__":
    sys.exit(main())
