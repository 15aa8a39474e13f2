"""`bin/rehearse`: the main job, end to end, on the local cloud, by the very commands that production runs."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from backup import custody
from backup.reach import Unreachable
from backup.sizes import counted
from cloud.converge import REPOSITORY, command, converge
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from lab import fetch, gerrit_war, lifecycle, load, rehearse_signing, release_build, review, sample, storage, tools
from lab.engine import EngineError
from lab.signing.host import HostError
from roles.gerrit.tools.rest import Refused
from roles.gerrit.tools.server import ROLE

INVENTORY = REPOSITORY / "inventories/lab.py"
PAGE = lifecycle.LABS / "lab/drills.html"
WEBSITE = lifecycle.LABS / "lab/website"
NAMED_AT_MOST = 3
"""Changes of a deploy that are named, not only counted: those of a run that was to change nothing."""
WHO = {
    f"GIT_{role}_{what}": text
    for role in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "Rehearsal"), ("EMAIL", "rehearsal@lab.example.org"))
}
"""Who publishes: git of a bare machine knows nobody."""
FAILURES = (
    *(InputError, lifecycle.LabError, EngineError, load.LoadError, fetch.FetchError),
    *(review.ReviewError, Refused, Unreachable, HostError),
)
console = Console(stderr=True, highlight=False)


class StepFailed(Exception):
    """A step of the rehearsal did not do what it promises; its text says why."""


@dataclass
class Step:
    """A line of the closing table."""

    name: str
    seconds: float = 0.0
    outcome: str = "failed"


class Rehearsal:
    """Runs steps, tells how they go, and keeps what the table needs."""

    def __init__(self, verbose: bool) -> None:
        self.steps: list[Step] = []
        self.verbose = verbose

    @contextmanager
    def step(self, name: str, told: str = "") -> Iterator[Step]:
        step = Step(name)
        self.steps.append(step)
        begun = time.monotonic()
        try:
            with console.status(told or name):
                yield step
        finally:
            step.seconds = round(time.monotonic() - begun, 1)
            console.print(f"[bold]{told or name}[/bold]: {step.outcome} ({step.seconds:.1f} s)", soft_wrap=True)

    def run(self, name: str, action: Callable[[], str]) -> None:
        """One step; action returns its outcome in a few words."""
        with self.step(name) as step:
            step.outcome = action()

    def deploy(self, deploy: str, inventory: Path = INVENTORY) -> bool:
        """Whether it changed anything."""
        own = inventory == INVENTORY
        words = command(inventory.relative_to(REPOSITORY) if own else inventory, deploy)
        name = words[2] if own else f"{words[2]} on {inventory.parent.name}"
        with self.step(name, f"pyinfra {' '.join(words[1:3])}") as step:
            done = converge(inventory, deploy)
            if self.verbose or not done.ok:
                console.print(done.output, markup=False)
            if not done.ok:
                raise StepFailed(f"pyinfra {' '.join(words[1:])} exited {done.code}: its output is above")
            step.outcome = counted(len(done.changed), "change") if done.changed else "nothing to change"
            if 0 < len(done.changed) <= NAMED_AT_MOST:
                step.outcome += f": {', '.join(done.changed)}"
        return bool(done.changed)

    def mainstay(self, *words: str) -> None:
        """A command of `mainstay`, as an admin gives it; its last line is the outcome."""
        self._command(f"mainstay {' '.join(words)}", *words, "--inventory", str(INVENTORY))

    def on(self, host: str, *words: str) -> None:
        """A command on a host, as an admin who is logged in there gives it; its last line is the outcome."""
        self._command(f"on {host}: {' '.join(words)}", "lab", "ssh", host, *words)

    def _command(self, name: str, *words: str) -> None:
        with self.step(name) as step:
            command = [str(REPOSITORY / "bin/mainstay"), *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if self.verbose or done.returncode:
                console.print(done.stdout + done.stderr, markup=False)
            if done.returncode:
                raise StepFailed(f"{name} exited {done.returncode}: its output is above")
            step.outcome = (done.stdout.strip().splitlines() or ["done"])[-1].strip()


def _built() -> str:
    storage.build()
    return str(storage.program())


def rehearse(rehearsal: Rehearsal, *, signing: bool = False) -> None:
    """All steps in order. signing: those of the signing host, too. Raises what the first failing one raises."""
    try:
        if not storage.program().exists():
            rehearsal.run("build the lab's S3 server, once: some minutes", _built)
        if not gerrit_war.place(gerrit_war.CURRENT).exists():
            rehearsal.run("put the lab's Gerrit together, once", lambda: str(gerrit_war.war(gerrit_war.CURRENT)))
        rehearsal.run("local cloud up", lambda: f"API at {lifecycle.up('lab').api_url}")
        rehearsal.mainstay("backup", "keys")
        rehearsal.deploy("provision")
        rehearsal.deploy("site")
        site = load_site(INVENTORY)
        sample.website(WEBSITE)
        rehearsal.mainstay("web", "publish", str(WEBSITE))
        rehearsal.run("load a release archive", lambda: load.content(site))
        rehearsal.run("fetch as a phone does", lambda: fetch.as_phone(site))
        rehearsal.run("fetch as a browser does", lambda: fetch.as_browser(site))
        publish(rehearsal, site)
        develop(rehearsal, site)
        os.environ["MAINSTAY_RESTIC"] = tools.restic()
        for data_set in custody.data_sets(site.fleet):
            if data_set.plan == custody.CONTROL_ROLE:
                # What it keeps is there before it is saved.
                rehearsal.on(data_set.host, "sudo", "mainstay", "backup", "mirror")
                rehearsal.on(data_set.host, "sudo", "mainstay", "backup", "collect")
            if data_set.plan == ROLE:
                with review.pushing(site) as ended:
                    rehearsal.mainstay("backup", "run", str(data_set))
                    rehearsal.run("changes pushed meanwhile", ended)
            else:
                rehearsal.mainstay("backup", "run", str(data_set))
        for word in ("copy", "verify", "status"):
            rehearsal.mainstay("backup", word)
        for host in site.fleet.with_role(custody.CONTROL_ROLE):
            rehearsal.on(host, "sudo", "mainstay", "backup", "status")
        rehearsal.mainstay("drill", "run", "--all")
        rehearsal.mainstay("drill", "report", "--html", str(PAGE))
        if signing:
            rehearse_signing.signing(rehearsal, fetch.lab_of(site))
    finally:
        table(rehearsal.steps)


def publish(rehearsal: Rehearsal, site: LoadedSite) -> None:
    """A release goes to all release servers, to phones on one channel then on the next, and all of it is audited."""
    os.environ.update(WHO)
    folder = release_build.following(site.files)
    rehearsal.mainstay("release", "publish", str(folder))
    rehearsal.mainstay("release", "promote", release_build.NEXT.number, "--from", "testing", "--to", "beta")
    rehearsal.mainstay("release", "status")
    rehearsal.mainstay("release", "audit")
    for host in site.fleet.with_role(custody.CONTROL_ROLE):
        rehearsal.on(host, "sudo", "mainstay", "release", "audit", "--status", "/srv/control/status")


def develop(rehearsal: Rehearsal, site: LoadedSite) -> None:
    """Projects and rights come to be, changes go through review, and what anybody can fetch of it is audited."""
    rehearsal.mainstay("gerrit", "apply", "--yes")
    rehearsal.run("changes reviewed and submitted", lambda: review.changes(site))
    rehearsal.mainstay("gerrit", "status")
    for host in site.fleet.with_role(custody.CONTROL_ROLE):
        rehearsal.on(host, "sudo", "mainstay", "gerrit", "audit", "--deep", "--status", "/srv/control/status")


def table(steps: list[Step]) -> None:
    """What was done, how long it took, how it ended."""
    out = Table("step", "seconds", "outcome")
    out.columns[1].justify = "right"
    for step in steps:
        out.add_row(step.name, f"{step.seconds:.1f}", step.outcome)
    console.print(out)


def doors(*, signing: bool = False) -> None:
    """How to get into each host, and how to look at the backups."""
    for name, host in sorted(load_site(INVENTORY).lock.hosts.items()):
        console.print(f"  {name:<12} bin/mainstay lab ssh {name:<12} {host.ipv4}")
    if signing:
        inventory = lifecycle.LABS / "lab/signing/lab.py"
        console.print(f"  signing-1    bin/mainstay ssh --inventory {inventory} signing-1", soft_wrap=True)
    console.print("  all at once: bin/mainstay lab status; an end to it: bin/mainstay lab down")
    console.print(f"  the drills: bin/mainstay drill list; as a page: {PAGE}", soft_wrap=True)
    console.print("  the backups: bin/mainstay backup status, after")
    console.print("      export MAINSTAY_INVENTORY=inventories/lab.py", soft_wrap=True)
    console.print(f"      export MAINSTAY_RESTIC={os.environ['MAINSTAY_RESTIC']}", soft_wrap=True)


def main() -> int:
    """Exit code 0, or 1 when a step failed."""
    parser = argparse.ArgumentParser(prog="bin/rehearse", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="throw the lab away first")
    parser.add_argument(
        "--with", dest="also", action="append", default=[], choices=["signing"], help="rehearse this, too, in a VM"
    )
    parser.add_argument("--verbose", action="store_true", help="show what pyinfra prints")
    parser.add_argument("--json", action="store_true", help="the table as JSON on standard output")
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    started = options.started or time.time()
    if options.fresh:
        lifecycle.down("lab")
    rehearsal = Rehearsal(options.verbose)
    try:
        rehearse(rehearsal, signing="signing" in options.also)
    except (StepFailed, *FAILURES) as error:
        console.print(f"[red]rehearsal failed:[/red] {error}")
        return 1
    finally:
        if options.json:
            steps = [asdict(step) for step in rehearsal.steps]
            print(json.dumps({"steps": steps, "seconds": round(time.time() - started, 1)}))
    doors(signing="signing" in options.also)
    console.print(f"[green]rehearsed in {time.time() - started:.0f} s[/green]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
