"""What an audit of release servers costs: `python -m bench.release_audit [--json]`. Exits 1 when an aim is missed.

Quick: 28 devices, 6 channels, two servers on this machine, each nginx with the role's own configuration over TLS, asked
from outside and looked at on the disk; against curl, which fetches the same addresses on as many connections and judges
nothing. Deep: all packages of one server read by the program that goes over ssh, against cat, sha256sum and OpenSSL on
the same files, each time from the disk.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.contest import Runs, Times, command, one_round, summed, table
from inventories.trusted import ROOTS
from lab.release_archive import archive
from roles.common.publishing.servers import session
from roles.release.tools.audit import outside
from roles.release.tools.audit.audit import PROGRAM
from tests.audited import NAME, Audited, audited

QUICK_S = 5.0
DEEP = 0.9
"""Of the rate of OpenSSL, one file after the other."""
CACHES = Path("/proc/sys/vm/drop_caches")
console = Console(stderr=True)


def quick(both: Audited) -> None:
    """All of it, as the command does."""
    verdict = both.audit()
    assert not verdict.wrong, [str(one) for one in verdict.wrong]


def fetch(both: Audited) -> None:
    """curl, with HEAD for the addresses of a quick audit."""
    truth = both.truth()
    asked = [*outside.first_round(truth), *outside.second_round(truth.needs(truth.offers))]
    lines = []
    for port in both.ports.values():
        lines += [f'url = "https://{NAME}:{port}/{one.path}"\noutput = "/dev/null"' for one in asked]
    names = [word for port in both.ports.values() for word in ("--resolve", f"{NAME}:{port}:127.0.0.1")]
    trusted = ["--cacert", str(both.inventory.parent / "site" / ROOTS)]
    words = [
        "curl",
        "--silent",
        "--no-progress-meter",
        "--head",
        "--parallel",
        "--parallel-max",
        "32",
        *names,
        *trusted,
        "--config",
        "-",
    ]
    subprocess.run(words, input="\n".join(lines).encode(), stdout=subprocess.DEVNULL, check=True)


def read(both: Audited, name: str, paths: Sequence[str]) -> None:
    """What a deep audit does on a server."""
    [place] = [one.place for one in both.targets() if one.name == name]
    assert place
    with session(place, PROGRAM) as to:
        for path in paths:
            to.ask("digest", path=f"public/{path}")


def dropped() -> None:
    """Files come from the disk again."""
    subprocess.run(["sync"], check=True)
    CACHES.write_text("3\n")


def run(folder: Path, megabytes: int, rounds: int) -> dict[str, Any]:
    """All results."""
    whole = archive()
    times: Times = {}
    with audited(whole, folder / "small") as both:
        runs: Runs = {"audit": lambda: quick(both), "curl": lambda: fetch(both)}
        requests = both.audit().requests
        for number in range(rounds):
            one_round(number, runs, times, console.print, before=lambda: None)
    found_quick = summed(times)
    large = archive(megabytes * 1_000_000 // 84)
    times = {}
    with audited(large, folder / "large") as both:
        name = next(iter(both.volumes))
        paths = sorted(large.packages)
        files = [str(both.volumes[name] / "public" / one) for one in paths]
        runs = {
            "audit --deep": lambda: read(both, name, paths),
            "cat": lambda: command(["sh", "-c", 'exec cat "$@" >/dev/null', "sh", *files]),
            "sha256sum": lambda: command(["sha256sum", *files]),
            "openssl": lambda: command(["openssl", "dgst", "-sha256", *files]),
        }
        for number in range(rounds):
            one_round(number, runs, times, console.print, before=dropped)
    found_deep = summed(times)
    ratio = found_deep["openssl"]["median_s"] / found_deep["audit --deep"]["median_s"]
    return {
        "requests": requests,
        "quick": found_quick,
        "bytes": sum(map(len, large.packages.values())),
        "deep": found_deep,
        "deep_to_openssl": ratio,
        "aims": {"quick": found_quick["audit"]["median_s"] < QUICK_S, "deep": ratio >= DEEP},
    }


def main() -> None:
    """Prints the results for people, or for programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=3000, metavar="MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder:
        found = run(Path(folder), given.size, given.rounds)
    aims = found["aims"]
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        met = ", ".join(f"{name} {'met' if good else 'missed'}" for name, good in aims.items())
        Console().print(
            table(found["quick"], found["deep"]), f"{found['requests']} requests, {found['bytes']:,} bytes; aims: {met}"
        )
    sys.exit(0 if all(aims.values()) else 1)


if __name__ == "__main__":
    main()
