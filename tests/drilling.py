"""Restore drills of the saved site: by the command, or in this process with somebody who meddles at each phase."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from backup.custody import DataSet
from backup.drills import account, book, own_site, run
from backup.drills.account import Thing
from backup.drills.course import Order
from backup.drills.report import PhaseRun, Report
from cloud.client import Client
from cloud.converge import REPOSITORY
from inventories.inventory import LoadedSite, load_site
from lab import lifecycle
from lab.api.store import DRILL, Store
from tests.labs import disconnect
from tests.saved_site import SET, Saved

MADE = ("instance", "block", "vpc", "firewall_group", "firewall_rule", "domain", "record")
"""In the lab's store."""


@dataclass
class Hearing:
    """Hears a drill, and does something at the begin of phases. at: by phase; during: at each progress of one."""

    at: dict[str, Callable[[], None]] = field(default_factory=dict)
    during: dict[str, Callable[[], None]] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    now: str = ""

    def phase(self, name: str) -> None:
        self.now = name
        self.at.get(name, lambda: None)()

    def progress(self, fraction: float, words: str) -> None:
        self.during.get(self.now, lambda: None)()

    def ended(self, run: PhaseRun) -> None:
        self.heard.append(f"{run.name}: {run.ok} {run.seconds} s {'; '.join(run.told)}")

    def note(self, text: str) -> None:
        self.heard.append(text)

    def agree(self, question: str) -> bool:
        return True


@dataclass(frozen=True)
class Drills:
    """Of a saved site, which has a backup."""

    saved: Saved
    data_set: DataSet = SET

    @property
    def site(self) -> LoadedSite:
        return load_site(self.saved.inventory)

    @property
    def api(self) -> Client:
        """The drills' account."""
        return account.client(self.site, lambda _: None)

    def begin(self, *words: str, after: str = "", point: str = "") -> "subprocess.Popen[str]":
        """`mainstay drill WORDS`. point: where it is killed (tests/faults/drill_killed.py)."""
        line = self.saved.words(after=after)[:-1]
        if point:
            line = [sys.executable, "-m", "tests.faults.drill_killed", point]
        return subprocess.Popen(
            [*line, "drill", *words],
            cwd=REPOSITORY,
            env=self.saved.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def mainstay(self, *words: str, after: str = "", point: str = "") -> "subprocess.CompletedProcess[str]":
        with self.begin(*words, after=after, point=point) as running:
            out, err = running.communicate()
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    def run(self, hear: Hearing | None = None, **order: Any) -> Report:
        """A drill in this process."""
        hear = hear or Hearing()
        done = run.run(self.site, Order(self.data_set, **order), hear)
        print(*hear.heard, done.model_dump_json(indent=1, exclude={"checks"}), sep="\n")
        return done

    def reports(self) -> list[Report]:
        return book.reports(book.folder(self.site), pytest.fail)

    def things(self) -> list[Thing]:
        return account.look(self.api, own_site.declared(self.site).domain)

    def host(self) -> Thing:
        """The only one that drills have."""
        (found,) = [thing for thing in self.things() if thing.kind == "host"]
        return found

    def must_be_gone(self) -> None:
        """Nothing of any drill, whatever it is marked with: not in the account, not on this machine."""
        assert self.things() == []
        store = Store(self.saved.lab.root / "cloud.db")
        left = [(kind, item["id"]) for kind in MADE for item in store.of(DRILL).all(kind)]
        store.close()
        assert left == []
        hosts = lifecycle.status(self.saved.lab.name)["hosts"]
        assert {host["account"] for host in hosts} == {"main"}

    def fault(self, kind: str, **values: Any) -> None:
        """Of the lab's API; see lab/api/faults.py."""
        if kind == "cut":
            disconnect(self.saved.ssh_config, values["instance"])
        self._faults("POST", {"kind": kind, **values})

    def mend(self) -> None:
        """Ends all faults."""
        self._faults("DELETE")

    def _faults(self, method: str, body: Any = None) -> None:
        url = f"{self.saved.lab.api_url.removesuffix('/v2')}/lab/faults"
        headers = {"Authorization": f"Bearer {lifecycle.api_key(self.saved.lab)}"}
        answer = requests.request(method, url, json=body, headers=headers, timeout=120)
        assert answer.ok, answer.text


def drills_of(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> Drills:
    """With a first backup."""
    monkeypatch.setenv("MAINSTAY_RESTIC", saved.environment["MAINSTAY_RESTIC"])
    monkeypatch.setenv("MAINSTAY_INVENTORY", str(saved.inventory))
    saved.save_first()
    return Drills(saved)
