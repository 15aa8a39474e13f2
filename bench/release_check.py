"""What checking a release costs: `python -m bench.release_check [--json]`. Exits 1 when the aim is missed.

In one run, in turns, on the same packages, which lie in the page cache: `mainstay release check`, against hashing them
once with sha256sum, and with OpenSSL, which uses the processor's own instructions as the check does; each one after the
other, and as many at once as there are processors. The check hashes payloads twice, for the package's checksum and for
the payload's own, so the fastest peer at once is out of reach: the ratio says how far.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.contest import Times, command, one_round, peaks, summed
from lab import release_build, sample

AIM = 0.8
"""Of the rate of sha256sum, one file after the other."""
console = Console(stderr=True)


def hashing(words: Sequence[str], files: Sequence[Path], at_once: int) -> None:
    """A program once for each file."""
    names = b"\0".join(os.fsencode(one) for one in files)
    parallel = ["xargs", "-0", "-n1", f"-P{at_once}", *words]
    subprocess.run(parallel, input=names, stdout=subprocess.DEVNULL, check=True)


def run(folder: Path, megabytes: int, rounds: int) -> dict[str, object]:
    """All results. Two devices, each with a full OTA, an incremental and a factory image."""
    each = megabytes * 1_000_000 * 10 // 42
    release_build.release(folder / "release", folder / "keys", sample.DEVICES[:2], full_bytes=each)
    files = sorted((folder / "release").rglob("*.zip"))
    size = sum(one.stat().st_size for one in files)
    words = [sys.executable, "-m", "cli.main", "release", "check", str(folder / "release"), "--certificates"]
    words.append(str(folder / "keys" / release_build.CERTIFICATES))
    cores = len(os.sched_getaffinity(0))
    openssl = ["openssl", "dgst", "-sha256"]
    runs = {
        "check": lambda: command(words),
        "sha256sum": lambda: hashing(["sha256sum"], files, 1),
        f"sha256sum, {cores} at once": lambda: hashing(["sha256sum"], files, cores),
        "openssl": lambda: hashing(openssl, files, 1),
        f"openssl, {cores} at once": lambda: hashing(openssl, files, cores),
    }
    hashing(["cat"], files, 1)
    times: Times = {}
    for number in range(rounds):
        one_round(number, runs, times, console.print, before=lambda: None)
    found = summed(times)
    ratios = {name: one["median_s"] / found["check"]["median_s"] for name, one in found.items() if name != "check"}
    memory = max(peaks(words, dict(os.environ)).values())
    return {"bytes": size, "times": found, "ratios": ratios, "memory": memory, "aim": ratios["sha256sum"] >= AIM}


def main() -> None:
    """Prints the results for people, or for programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000, metavar="MB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder:
        found = run(Path(folder), given.size, given.rounds)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        Console().print(_table(found), f"memory {found['memory']:,} bytes; aim {'met' if found['aim'] else 'missed'}")
    sys.exit(0 if found["aim"] else 1)


def _table(found: dict[str, object]) -> Table:
    times, ratios, size = found["times"], found["ratios"], found["bytes"]
    assert isinstance(times, dict)
    assert isinstance(ratios, dict)
    assert isinstance(size, int)
    table = Table("", "seconds, median (best - worst)", "MB/s", "check's rate to it")
    for name, one in times.items():
        seconds = f"{one['median_s']:.2f} ({one['best_s']:.2f} - {one['worst_s']:.2f})"
        table.add_row(name, seconds, f"{size / one['median_s'] / 1e6:,.0f}", f"{ratios.get(name, 1):.2f}")
    return table


if __name__ == "__main__":
    main()
