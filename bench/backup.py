"""What the backups cost: `python -m bench.backup [--json]`, as root. Exits 1 when an aim is missed.

In one run, in turns, on the same data: the agent against bare restic on the same rest-server (TLS, a log-in,
append-only, as on the vault), and against borgmatic with Borg over SSH; first run, unchanged run, restore. Then how
much a check reads in an hour, memory, and `status` of a thousand plans. Repositories are made beforehand.
"""

import argparse
import json
import os
import random
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from backup import certificate
from backup.coverage import PARTS
from backup.restic import Restic
from backup.restic_process import Repository
from backup.zipapp import zipapp
from bench import borg, plans
from bench.contest import BenchError, Runs, Times, command, one_round, peaks, summed
from roles.vault.users import htpasswd
from tests.agents import plan
from tests.rest_server import VERSION, program
from tests.restics import restic
from tests.waiting import until

USER, PASSWORD = "alice", "a long one"
SHARE, EXTRA_S, PLANS_S = 1.05, 0.5, 2.0
console = Console(stderr=True)


def make_data(folder: Path, megabytes: int) -> dict[str, int]:
    """Half of it in small files (half a kB to 64 kB), half in large ones; half of each random, half text-like."""
    chance = random.Random(1)  # noqa: S311
    words = [chance.randbytes(4).hex().encode() for _ in range(2000)]

    def content(size: int, number: int) -> bytes:
        return chance.randbytes(size) if number % 2 else b" ".join(chance.choices(words, k=size // 9 + 1))[:size]

    left, number = megabytes * 500_000, 0
    while left > 0:
        path = folder / f"small/{number % 100:02}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(some := content(chance.randint(500, 64_000), number))
        left, number = left - len(some), number + 1
    (folder / "large").mkdir()
    for large in range(4):
        with (folder / f"large/{large}").open("wb") as out:
            for _ in range(megabytes // 8):
                out.write(content(1_000_000, large))
    return {"files": number + 4, "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())}


@contextmanager
def rest_server(folder: Path) -> Iterator[str]:
    """A rest-server on loopback; yields the address that `USER` saves below. Its certificate is folder/vault.pem."""
    (folder / "repositories").mkdir(parents=True)
    key = certificate.new_key()
    (folder / "key.pem").write_text(key)
    (folder / "vault.pem").write_text(certificate.self_signed(key, ("127.0.0.1",)))
    (folder / "htpasswd").write_text(htpasswd("bench", {USER: SecretStr("password")}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [str(program()), "--path", str(folder / "repositories"), "--listen", address, "--append-only"]
    words += ["--private-repos", "--htpasswd-file", str(folder / "htpasswd"), "--tls"]
    words += ["--tls-cert", str(folder / "vault.pem"), "--tls-key", str(folder / "key.pem")]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    context = ssl.create_default_context(cafile=str(folder / "vault.pem"))
    try:
        until("rest-server listens", lambda: _greets(address, context))
        yield f"rest:https://{USER}:password@{address}/{USER}"
    finally:
        server.kill()
        server.wait()


def _greets(address: str, context: ssl.SSLContext) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", int(address.split(":")[1])), 1) as raw:
            context.wrap_socket(raw, server_hostname="127.0.0.1").close()
    except OSError:
        return False
    return True


class Bare:
    """restic as somebody would call it by hand."""

    def __init__(self, url: str, ca: Path, work: Path, source: Path) -> None:
        work.mkdir()
        (work / "password").write_text(PASSWORD)
        self.source, self.ca = source, ca
        self.repository = Repository(url, PASSWORD, cache=work / "cache", ca=ca)
        self.environment = os.environ | {
            "RESTIC_REPOSITORY": url,
            "RESTIC_PASSWORD_FILE": str(work / "password"),
            "RESTIC_CACHE_DIR": str(work / "cache"),
            "RESTIC_CACERT": str(ca),
        }
        self.run("init")

    def run(self, *words: str) -> str:
        return command([restic(), *words], cwd=self.source, env=self.environment)

    def backup(self) -> None:
        self.run("backup", "--json", "--host", "alice", "--tag", "data", ".")

    def restore(self, target: Path) -> None:
        self.run("restore", "latest", "--json", "--target", str(target))


class Agent:
    """The zipapp as hosts have it, on a repository that was made beforehand."""

    def __init__(self, bare: Bare, work: Path, **change: Any) -> None:
        (work / "plans").mkdir(parents=True)
        (work / "bin").mkdir()
        (work / "bin/restic").symlink_to(restic())
        (work / "backup.pyz").write_bytes(zipapp())
        path = work / "plans/data.json"
        given = {"url": bare.repository.url, "root": str(bare.source), "password": PASSWORD, "ca": str(bare.ca)}
        path.write_text(json.dumps(plan(**given | change)))
        path.chmod(0o600)
        folders = ["--plans", str(work / "plans"), "--state", str(work / "state")]
        self.words = [sys.executable, "-I", str(work / "backup.pyz"), *folders]
        self.environment = os.environ | {"PATH": f"{work}/bin:{os.environ['PATH']}"}

    def backup(self) -> None:
        command([*self.words, "run", "data"], env=self.environment)

    def restore(self, target: Path) -> None:
        command([*self.words, "restore", "data", "--to", str(target)], env=self.environment)


def measure(work: Path, megabytes: int, rounds: int) -> dict[str, Any]:
    source = work / "data"
    source.mkdir()
    data = make_data(source, megabytes)
    console.print(f"{data['files']} files, {data['bytes'] / 1e6:.0f} MB")
    versions = borg.install() | {"restic": command([restic(), "version"]).split()[1], "rest-server": VERSION}
    times: dict[str, Times] = {"first": {}, "unchanged": {}, "restore": {}}
    with rest_server(work / "server") as url, borg.sshd(work / "sshd") as port:
        for number in range(rounds):
            at = work / f"round{number}"
            at.mkdir()
            bare, other, agent = _contestants(f"{url}/{number}", work, at)
            matic = borg.Borgmatic(source, at / "borg", work / "sshd", port)
            _one(number, at, bare, other, agent, matic, times)
            shutil.rmtree(at)
        at = work / "at-last"
        at.mkdir()
        _, other, agent = _contestants(f"{url}/last", work, at)
        memory = peaks([*agent.words, "run", "data"], agent.environment)
        checked = _coverage(Restic(other.repository, restic()), work / f"server/repositories/{USER}/lastagent/data")
    return {
        "data": data,
        "versions": versions,
        "seconds": {name: summed(found) for name, found in times.items()},
        "raw": times,
        "check": checked,
        "memory": memory,
    }


def _contestants(url: str, work: Path, at: Path) -> tuple[Bare, Bare, Agent]:
    """restic on a repository of its own, and the agent on another, with restic on that."""
    ca, source = work / "server/vault.pem", work / "data"
    other = Bare(f"{url}agent/", ca, at / "other", source)
    return Bare(f"{url}bare/", ca, at / "bare", source), other, Agent(other, at / "agent")


def _one(
    number: int, at: Path, bare: Bare, other: Bare, agent: Agent, matic: borg.Borgmatic, times: dict[str, Times]
) -> None:
    """One round of everything, on repositories that are empty."""
    runs: Runs = {"agent": agent.backup, "restic": bare.backup, "borgmatic": matic.create}
    for name in ("first", "unchanged", "unchanged"):
        console.print(f"{name}:")
        one_round(number, runs, times[name], console.print)
    control = Restic(other.repository, restic())
    newest = control.snapshots()[-1].id
    restores: Runs = {
        "agent": lambda: agent.restore(at / "to-agent"),
        "control": lambda: control.restore(newest, at / "to-control"),
        "restic": lambda: bare.restore(at / "to-bare"),
        "borgmatic": lambda: matic.extract(at / "to-borg"),
    }
    console.print("restore:")
    one_round(number, restores, times["restore"], console.print)


def _coverage(control: Restic, packs: Path) -> list[dict[str, Any]]:
    """What a check of one part, and of all, reads in how many seconds."""
    total = sum(path.stat().st_size for path in packs.rglob("*") if path.is_file())
    found = []
    for n, t in ((1, PARTS), (1, 1)):
        read = sum(p.stat().st_size for p in packs.rglob("*") if p.is_file() and int(p.name[:2], 16) % t == n - 1)
        began = perf_counter()
        errors = control.check((n, t)).errors
        seconds = perf_counter() - began
        if errors:
            raise BenchError("; ".join(errors))
        hour = read * 3600 / seconds
        found.append({"part": f"{n}/{t}", "bytes": read, "s": seconds, "bytes_an_hour": hour, "share": read / total})
    return found


def aims(found: dict[str, Any], many: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Every aim with what was reached, by medians."""
    judged = []
    for what, other, ours in (
        ("first", "restic", "agent"),
        ("unchanged", "restic", "agent"),
        ("restore", "restic", "agent"),
        ("restore", "restic", "control"),
        ("first", "borgmatic", "agent"),
        ("unchanged", "borgmatic", "agent"),
    ):
        a, b = (found["seconds"][what][one] for one in (ours, other))
        share = SHARE if other == "restic" else 1.0
        extra = EXTRA_S if other == "restic" and what != "restore" else 0.0
        met = a["median_s"] <= max(b["median_s"] * share, b["median_s"] + extra)
        judged.append(
            {
                "aim": f"{what}: {ours} / {other}",
                "median": a["median_s"] / b["median_s"],
                "best": a["best_s"] / b["best_s"],
                "cpu": a["cpu_s"] / b["cpu_s"],
                "more_s": a["median_s"] - b["median_s"],
                "allowed": f"<= {share:g}" + (f" or +{extra:g} s" if extra else ""),
                "met": met,
            }
        )
    median = statistics.median(many["seconds"])
    judged.append(
        {
            "aim": f"status of {count} plans, s",
            "median": median,
            "best": min(many["seconds"]),
            "cpu": many["cpu_s"],
            "more_s": 0.0,
            "allowed": f"<= {PLANS_S:g}",
            "met": median <= PLANS_S,
        }
    )
    return judged


def show(result: dict[str, Any]) -> None:
    out = Console()
    data, many = result["data"], result["status"]
    table = Table(title=f"{data['files']} files, {data['bytes'] / 1e6:.0f} MB; seconds: median (best - worst), CPU")
    names = ("agent", "control", "restic", "borgmatic")
    for column in ("", *names):
        table.add_column(column, justify="right")
    for what, by_name in result["seconds"].items():
        form = "{median_s:.2f} ({best_s:.2f} - {worst_s:.2f}), {cpu_s:.2f}"
        cells = [form.format(**by_name[name]) if name in by_name else "-" for name in names]
        table.add_row(what, *cells)
    out.print(table)
    judged = Table()
    for column in ("aim", "median", "best", "CPU", "more s", "allowed", ""):
        judged.add_column(column)
    for one in result["aims"]:
        cells = [f"{one[key]:.2f}" for key in ("median", "best", "cpu", "more_s")]
        judged.add_row(one["aim"], *cells, one["allowed"], "met" if one["met"] else "missed")
    out.print(judged)
    for one in result["check"]:
        gb, parts = one["bytes_an_hour"] / 1e9, one["s"] / 3600
        out.print(f"check {one['part']}: {one['bytes'] / 1e6:.0f} MB in {one['s']:.2f} s, {gb:.0f} GB an hour", end="")
        out.print(f", {one['share'] / parts:.0f} times this repository an hour")
    out.print("memory: " + ", ".join(f"{name} {peak / 1e6:.0f} MB" for name, peak in result["memory"].items()))
    out.print(
        f"status: {many['lines']} lines and {many['bytes'] / 1e6:.2f} MB a plan; first look {many['first_s']:.1f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=600, metavar="MB", help="of the data (default: 600)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant (default: 3)")
    parser.add_argument("--plans", type=int, default=1000, help="plans in `status` (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="mainstay-bench-", dir="/var/tmp") as scratch:
            work = Path(scratch)
            many = plans.measure(work / "plans", options.plans, options.rounds)
            console.print(f"{options.plans} plans: {many}")
            found = measure(work, options.size, options.rounds)
    except BenchError as error:
        console.print(str(error), markup=False)
        return 1
    result = {"cores": os.cpu_count(), "rounds": options.rounds, **found, "status": many}
    result["aims"] = aims(found, many, options.plans)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0 if all(one["met"] for one in result["aims"]) else 1


if __name__ == "__main__":
    sys.exit(main())
