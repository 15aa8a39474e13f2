"""Two release servers that share a name, the repositories they are published by, and releases, in a lab of its own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count, product
from pathlib import Path
from typing import Any

from backup.drills.checks import CheckFailed
from backup.drills.web_client import Web
from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from lab import load, release_build, sample
from lab.engine import LabConfig
from lab.hosts import LabEngine
from lab.repositories import METADATA
from lab.sample import Build, Device
from lab.sites import derive, only
from roles.common.publishing.fronts import fronts
from roles.release.archive import Offer
from tests.labs import disconnect, kept_lab
from tests.saved_site import Saved
from tests.waiting import rounds, until

SERVERS = ("release-1", "release-2")
DEVICES = ("panther", "FP5")
WHO = {
    f"GIT_{role}_{what}": text
    for role in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "Alice"), ("EMAIL", "alice@example.org"))
}
NUMBERS = count(1)


@dataclass(frozen=True)
class Paused:
    """A publisher that waits. gate: for as long as that is open."""

    running: "subprocess.Popen[str]"
    gate: int

    def go_on(self) -> None:
        os.close(self.gate)

    def ended(self) -> tuple[int, str]:
        """Its exit code, and what it said."""
        said, _ = self.running.communicate()
        return self.running.returncode, said


def _opened(fifo: Path, running: "subprocess.Popen[str]") -> int | None:
    assert running.poll() is None, running.communicate()
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # nobody reads it yet
        return None


@dataclass(frozen=True)
class Publishing(Saved):
    """The site, as a release manager sees it."""

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | WHO | {"MAINSTAY_INVENTORY": str(self.inventory)}

    def release(self, *words: str | Path, program: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """`mainstay release WORDS`. program: in the place of `mainstay`."""
        return subprocess.run(
            [*(program or (str(REPOSITORY / "bin/mainstay"),)), "release", *map(str, words)],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *words: str | Path) -> str:
        """Standard output of a command that has to succeed."""
        ran = self.release(*words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def standing(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.release("status", "--json").stdout)
        return found

    def built(self, devices: Sequence[str] = DEVICES, full_bytes: int = 300_000) -> tuple[Path, str]:
        """A release that nobody has seen, later than all others: its folder, and its build."""
        number = next(NUMBERS)
        build = Build(f"2609{number:02}510", sample.CURRENT.timestamp + number * 86400, "16")
        folder = self.folder / f"release-{number}"
        keys = load_site(self.inventory).files
        new = [Device(name, build, sample.CURRENT, incremental=name != "FP5") for name in devices]
        release_build.release(folder, keys, new, full_bytes=full_bytes)
        return folder, build.number

    def lose_power(self, host: str) -> None:
        """At once, and what is not on its disk is lost: its filesystem takes nothing from here on, xfs_io(8), of which
        no client is told."""
        self.root(host, "systemctl stop nginx; xfs_io -x -c shutdown /srv/release")
        disconnect(self.ssh_config, host)
        LabEngine(self.lab).stop(self.machine(host), force=True)

    @contextmanager
    def paused(self, when: str, step: str, *words: str | Path) -> Iterator[Paused]:
        """`mainstay release WORDS`, which waits at a step until `go_on`."""
        fifo = self.folder / "paused"
        os.mkfifo(fifo)
        program = [sys.executable, "-m", "tests.faults.publisher_paused", when, step, str(fifo)]
        with subprocess.Popen(
            [*program, "release", *map(str, words)],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            try:
                gate = until(f"{when} {step}", partial(_opened, fifo, running))
                assert gate
                yield Paused(running, gate)
            finally:
                running.terminate()
                fifo.unlink()

    def head(self) -> str:
        """The newest commit of the metadata repository."""
        return self.git("rev-parse", "main")

    def git(self, *words: str) -> str:
        """On the metadata repository."""
        words = ("git", f"--git-dir={METADATA.path(self.lab)}", *words)
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    @cached_property
    def fronts(self) -> dict[str, Web]:
        """What clients connect to, by server."""
        site = load_site(self.inventory)
        return {server: fronts(site, server)[0] for server in SERVERS}

    def client(self, server: str) -> Web:
        """Of one server, by its address, with connections of its own."""
        return replace(self.fronts[server])

    def offered(self, server: str, device: str, channel: str) -> str:
        """The build that phones are told of."""
        return Offer.parse(self.client(server).get(f"/ota/{device}/{device}-{channel}").body.decode()).build

    def must_agree(self) -> None:
        """All servers serve the newest commit, and nothing is under way."""
        found = self.standing()
        told = {(one["commit"], one["begun"] is None, one["wrong"]) for one in found["servers"]}
        assert told == {(self.head(), True, "")}, found["servers"]
        assert found["exit_code"] == 0


@contextmanager
def polled(
    site: Publishing, channels: Sequence[str] = ("testing", "beta"), may_be_away: Sequence[str] = ()
) -> Iterator[None]:
    """Phones ask all servers, over and over, each time by connections of their own; none may be promised what is not
    there. may_be_away: servers that need not answer.

    What is between two steps of a publisher that dies or waits there lasts longer than they rest.
    """
    ended, wrong, seen = threading.Event(), list[str](), list[str]()

    def phone(server: str, device: str, channel: str) -> None:
        client = site.client(server)
        answer = client.get(f"/ota/{device}/{device}-{channel}")
        if answer.status != 200:
            wrong.append(f"{server}: {channel} of {device}: {answer.status}")
            return
        offer = Offer.parse(answer.body.decode())
        package = f"/ota/{device}/{offer.android}/{device}-ota_update-{offer.build}.zip"
        got = client.head(package)
        seen.append(offer.build)
        if got.status != 200 or int(got.headers["content-length"]) < 1000:
            wrong.append(f"{server}: {channel} promises {package}: {got.status}")

    def phones() -> None:
        for _ in rounds(ended):
            for server, device, channel in product(SERVERS, DEVICES, channels):
                try:
                    phone(server, device, channel)
                except CheckFailed as error:
                    if server not in may_be_away:
                        wrong.append(f"{server}: {error}")

    asking = threading.Thread(target=phones)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()
    assert seen
    assert not wrong, wrong


def publishing_site(folder: Path) -> Iterator[Publishing]:
    """A fixture's body."""
    with kept_lab("publishing", _build) as config:
        site = Publishing(derived(config, folder), folder, config)
        for host in SERVERS:
            until(f"{host} is up", partial(site.up, host))
        yield site
        disconnect(site.ssh_config)


def _build(config: LabConfig) -> None:
    made = Publishing(derived(config, config.root / "built"), config.root / "built", config)
    made.deploy("provision", "release")
    load.content(load_site(made.inventory))


def derived(config: LabConfig, folder: Path) -> Path:
    """The inventory of a lab's site that has nothing but the two."""

    def change(document: Any) -> None:
        only(document, *SERVERS)
        del document["settings"]["web"]

    return derive(config, folder, change)
