"""What a backup of Gerrit's repositories costs: `python -m bench.gerrit_backup [--json]`, as root. Exits 1 when the
aim is missed.

In one run, in turns, on the same btrfs volume and rest-server: the agent, which takes a snapshot and writes a manifest
of all refs, against bare restic on the live folder, with nothing changed since. Then the manifest by itself, and what
the longest push takes while backups go on, against none.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from backup.agent import ref_manifest
from bench.backup import Agent, Bare, rest_server
from bench.contest import BenchError, Times, command, one_round, summed, table

SHARE = 1.1
console = Console(stderr=True)


@contextmanager
def volume(folder: Path) -> Iterator[Path]:
    """A btrfs of its own."""
    mount = folder / "volume"
    mount.mkdir()
    with (folder / "disk").open("wb") as disk:
        disk.truncate(20_000_000_000)
    command(["mkfs.btrfs", "-q", str(folder / "disk")])
    command(["mount", "-o", "loop", str(folder / "disk"), str(mount)])
    try:
        yield mount
    finally:
        command(["umount", str(mount)])


def make_repositories(git: Path, count: int, packed: int, loose: int) -> None:
    """Each with some packs, so many refs of changes packed, and so many in files of their own, as between two gcs."""
    template = git / "0.git"
    work = git.parent / "work"
    command(["git", "init", "-q", "--bare", str(template)])
    command(["git", "init", "-q", str(work)])
    for number in range(5):
        (work / f"{number}").write_bytes(os.urandom(10_000))
        command(["git", "-C", str(work), "add", "."])
        command(["git", "-C", str(work), *_somebody(), "commit", "-q", "-m", str(number)])
        command(["git", "-C", str(work), "push", "-q", str(template), "HEAD:refs/heads/master"])
        command(["git", "-C", str(template), "repack", "-q"])
    value = command(["git", "-C", str(work), "rev-parse", "HEAD"]).strip()
    shutil.rmtree(work)
    shutil.rmtree(template / "hooks")
    for number in range(1, count):
        shutil.copytree(template, git / f"{number}.git")
    for number in range(count):
        one = git / f"{number}.git"
        names = sorted(_change(number * (packed + loose) + change) for change in range(packed))
        (one / "packed-refs").write_text(
            "# pack-refs with: peeled fully-peeled sorted \n" + "".join(f"{value} {name}\n" for name in names)
        )
        for change in range(packed, packed + loose):
            path = one / _change(number * (packed + loose) + change)
            path.parent.mkdir(parents=True)
            path.write_text(f"{value}\n")


def _change(number: int) -> str:
    return f"refs/changes/{number % 100:02}/{number}/1"


def _somebody() -> list[str]:
    return ["-c", "user.name=x", "-c", "user.email=x@example.org"]


def longest_push(repository: Path, meanwhile: Callable[[], None]) -> dict[str, float]:
    """Seconds of the longest push of one commit, of so many, until what goes on meanwhile has ended."""
    work = repository.parent.parent / "pushing"
    shutil.rmtree(work, ignore_errors=True)
    command(["git", "clone", "-q", str(repository), str(work)])
    other = threading.Thread(target=meanwhile)
    other.start()
    times: list[float] = []
    while other.is_alive() or len(times) < 20:
        command(["git", "-C", str(work), *_somebody(), "commit", "-q", "--allow-empty", "-m", "x"])
        began = perf_counter()
        command(["git", "-C", str(work), "push", "-q", "origin", "HEAD"])
        times.append(perf_counter() - began)
    other.join()
    return {"pushes": len(times), "longest_s": max(times), "mean_s": sum(times) / len(times)}


def measure(work: Path, repositories: int, packed: int, loose: int, rounds: int) -> dict[str, Any]:
    times: Times = {}
    with volume(work) as mount, rest_server(work / "server") as url:
        git = mount / "git"
        git.mkdir()
        make_repositories(git, repositories, packed, loose)
        files = sum(len(found) for _, _, found in os.walk(git))
        console.print(f"{repositories} repositories, {files} files, {repositories * (packed + loose)} refs")
        ca = work / "server/vault.pem"
        bare = Bare(f"{url}/bare/", ca, work / "bare", mount)
        agent = Agent(
            Bare(f"{url}/agent/", ca, work / "other", mount), work / "agent", consistency="btrfs", repositories=["git"]
        )
        for first in (bare.backup, agent.backup):
            first()
        for number in range(rounds):
            one_round(number, {"agent": agent.backup, "restic": bare.backup}, times, console.print)
        began = perf_counter()
        broken = ref_manifest.write(mount, ["git"])
        seconds = perf_counter() - began
        if broken:
            raise BenchError(f"broken: {broken}")
        size = (mount / ref_manifest.FILE).stat().st_size
        (mount / ref_manifest.FILE).unlink()

        def backups() -> None:
            for _ in range(3):
                agent.backup()

        pushing = {"alone": longest_push(git / "0.git", lambda: None), "backup": longest_push(git / "0.git", backups)}
    return {
        "refs": repositories * (packed + loose),
        "files": files,
        "seconds": summed(times),
        "raw": times,
        "manifest": {"s": seconds, "bytes": size},
        "pushing": pushing,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repositories", type=int, default=600, help="(default: %(default)s)")
    parser.add_argument("--refs", type=int, default=500, help="of each, packed (default: %(default)s)")
    parser.add_argument("--loose", type=int, default=2, help="of each, in files of their own (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="of each contestant (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="mainstay-bench-", dir="/var/tmp") as scratch:
            found = measure(Path(scratch), options.repositories, options.refs, options.loose, options.rounds)
    except (BenchError, subprocess.SubprocessError) as error:
        console.print(str(error), markup=False)
        return 1
    share = found["seconds"]["agent"]["median_s"] / found["seconds"]["restic"]["median_s"]
    result = {"cores": os.cpu_count(), **found, "aim": {"share": share, "allowed": SHARE, "met": share <= SHARE}}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        out = Console()
        out.print(f"{found['files']} files, {found['refs']} refs, nothing changed")
        out.print(table(found["seconds"]))
        out.print(f"agent / restic: {share:.2f}, aim at most {SHARE}: {'met' if share <= SHARE else 'missed'}")
        out.print(f"the manifest by itself: {found['manifest']['s']:.2f} s, {found['manifest']['bytes'] / 1e6:.1f} MB")
        for name, one in found["pushing"].items():
            mean = f"mean {one['mean_s'] * 1000:.0f} ms"
            out.print(f"longest of {one['pushes']} pushes, {name}: {one['longest_s'] * 1000:.0f} ms, {mean}")
    return 0 if share <= SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
