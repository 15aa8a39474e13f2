"""Two web servers that share their names, and a website whose every file says of which edition it is, in a lab of its
own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import requests
import tomlkit

from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from lab import sample
from lab.engine import LabConfig
from lab.sites import derive, only
from tests.labs import disconnect, kept_lab
from tests.roles.web_client import Client, clients
from tests.saved_site import Saved
from tests.waiting import rounds, until

SERVERS = ("web-1", "web-2")
ASKED = (
    *("/", "/about", "/docs/", "/docs/install", "/assets/css/style.css", "/assets/img/logo.svg", "/feed.xml"),
    *("/.messages/latest.txt", "/.well-known/security.txt"),
)
MISSING = "/no/such/page"
MARK = re.compile(rb"edition (\d+)\.")
EDITIONS = count(1)


@dataclass(frozen=True)
class Website(Saved):
    """The site, as whoever publishes it sees it."""

    editions: list[int] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"MAINSTAY_INVENTORY": str(self.inventory)}

    @property
    def edition(self) -> int:
        """That was built last."""
        return self.editions[-1]

    @property
    def built(self) -> Path:
        return self.folder / "site"

    def client(self, host: str = "web-1") -> Client:
        return clients(load_site(self.inventory), host)["IPv4"]

    def build(self, **pages: str) -> int:
        """The next edition, as it is to be published."""
        self.editions.append(next(EDITIONS))
        sample.website(self.built)
        for name, text in pages.items():
            (self.built / f"{name}.html").write_text(text)
        for path in self.built.rglob("*.*"):
            if path.is_file():
                comment = {".css": "/* {} */", ".txt": "{}"}.get(path.suffix, "<!-- {} -->")
                with path.open("a") as file:
                    file.write(comment.format(f"edition {self.edition}.") + "\n")
        return self.edition

    def begin_web(self, *words: str, point: str = "", what: str = "KILL") -> "subprocess.Popen[str]":
        """`mainstay web WORDS`. point: where the signal comes that is named."""
        program = (sys.executable, "-m", "tests.faults.web_killed", what, point)
        line: Sequence[str] = program if point else (str(REPOSITORY / "bin/mainstay"),)
        return subprocess.Popen(
            [*line, "web", *words],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def web(self, *words: str, point: str = "") -> "subprocess.CompletedProcess[str]":
        """The same, to its end."""
        with self.begin_web(*words, point=point) as running:
            out, err = running.communicate()
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    def done(self, *words: str) -> Any:
        """What a command that has to succeed says for programs."""
        ran = self.web(*words, "--json")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return json.loads(ran.stdout)

    def publish(self, *words: str) -> Any:
        return self.done("publish", str(self.built), "--replace-message", *words)

    def standing(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.web("status", "--json").stdout)
        return found

    def shown(self, host: str) -> set[int]:
        """The editions that a server's pages are of: of one, as long as it is whole."""
        client, found = self.client(host), set[int]()
        for path in (*ASKED, MISSING):
            answer = client.get(path)
            assert answer.status_code == (404 if path == MISSING else 200), f"{host}: {path}: {answer.status_code}"
            found |= {int(mark) for mark in MARK.findall(answer.content)}
        return found

    def must_agree(self) -> None:
        """All servers serve the edition that was built last, and nothing is under way."""
        assert {host: self.shown(host) for host in SERVERS} == {host: {self.edition} for host in SERVERS}
        found = self.standing()
        assert (found["exit_code"], [one["begun"] for one in found["servers"].values()]) == (0, [[], []])

    def cut_power(self, host: str) -> None:
        """What of the content's disk was not written yet is lost; and it comes on again."""
        disk = self.lab.root / "disks" / f"{load_site(self.inventory).lock.hosts[host].volumes['content'].id}.img"
        written = self.folder / "disk"
        subprocess.run(["cp", "--sparse=always", disk, written], check=True)
        self.power(host, "halt")
        until("its disk is let go", lambda: not _mounted(disk))
        subprocess.run(["cp", "--sparse=always", written, disk], check=True)
        self.power(host, "start")
        until("it serves", partial(_serves, self.client(host)))


def _mounted(disk: Path) -> str:
    """Loop devices over it."""
    words = ["losetup", "--noheadings", "--output", "NAME", "--associated", str(disk)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _serves(client: Client) -> bool:
    try:
        return client.status("/") == 200
    except requests.RequestException:
        return False


@dataclass
class Visitor:
    """Asks a server for one address after the other, and rests for a moment before it begins anew, but not for good
    before it has seen how all ended. may_be_away: no answer at all is none that is wrong."""

    client: Client
    may_be_away: bool
    seen: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        for _ in rounds(self.done):
            for path in (*ASKED, MISSING):
                try:
                    self._ask(path)
                except requests.RequestException as error:
                    if not self.may_be_away:
                        self.wrong.append(f"{path}: {error}")

    def _ask(self, path: str) -> None:
        answer = self.client.get(path)
        editions = {int(found) for found in MARK.findall(answer.content)}
        if answer.status_code != (404 if path == MISSING else 200) or len(editions) != 1:
            self.wrong.append(f"{path}: {answer.status_code}, of {editions}")
        self.seen += editions

    @property
    def turns(self) -> int:
        """How often another edition came than before."""
        return sum(one != other for one, other in pairwise(self.seen))


@contextmanager
def visited(website: Website, away: Sequence[str] = ()) -> Iterator[dict[str, Visitor]]:
    """Somebody looks at each server all the time, and finds nothing wrong. away: those whose power is cut."""
    visitors = {host: Visitor(website.client(host), host in away) for host in SERVERS}
    threads = [threading.Thread(target=one.look) for one in visitors.values()]
    for thread in threads:
        thread.start()
    try:
        yield visitors
    finally:
        for one in visitors.values():
            one.done.set()
        for thread in threads:
            thread.join()
    for host, one in visitors.items():
        assert (host, one.wrong) == (host, [])
        assert len(one.seen) > len(ASKED)


def stopped(running: "subprocess.Popen[str]") -> None:
    """Waits until it has stopped itself where it was told to."""
    found = os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert found
    assert found.si_code == os.CLD_STOPPED, running.communicate()


def goes_on(running: "subprocess.Popen[str]") -> int:
    """Its exit code."""
    running.send_signal(signal.SIGCONT)
    running.communicate()
    return running.returncode


def website_site(folder: Path) -> Iterator[Website]:
    """A fixture's body: an edition is published."""
    with kept_lab("website", _build) as config:
        made = Website(derived(config, folder), folder, config)
        for host in SERVERS:
            until(f"{host} is up", partial(made.up, host))
        made.build()
        made.publish()
        yield made
        disconnect(made.ssh_config)


def _build(config: LabConfig) -> None:
    made = Website(derived(config, config.root / "built"), config.root / "built", config)
    made.deploy("provision", "web")


def derived(config: LabConfig, folder: Path) -> Path:
    """The inventory of a lab's site that has nothing but the two."""

    def change(document: Any) -> None:
        only(document, "web-1")
        document["hosts"]["web-2"] = tomlkit.item(document["hosts"]["web-1"].unwrap())
        for role in ("release", "control"):
            del document["settings"][role]

    return derive(config, folder, change)
