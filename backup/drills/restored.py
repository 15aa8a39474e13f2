"""A restored copy on its throwaway host, as checks and faults see it: by SSH as root, and by network as users do."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backup import custody, mirror, record
from backup.custody import CONTROL_ROLE, DataSet
from backup.drills import book
from backup.drills.checks import CheckFailed, File, NotJudged
from backup.drills.choosing import Chosen
from backup.drills.serving import own_certificate
from backup.drills.web_client import Web
from backup.reach import Reach, Unreachable, reach
from backup.restic_compare import literally
from backup.restic_process import ResticError
from backup.store import WORDS
from inventories import trusted
from inventories.errors import InputError
from inventories.inventory import LoadedSite

CLONE_S = 300


@dataclass(frozen=True)
class OnHost:
    """The copy of one data set. production: the site whose data it is; way: into the drill's own site."""

    production: LoadedSite
    way: Reach
    data_set: DataSet
    chosen: Chosen
    turn: int
    scratch: Path
    """A folder of the drill on this machine."""

    @property
    def host(self) -> str:
        return self.data_set.host

    @property
    def root(self) -> str:
        return custody.recovery(self.data_set.plan).root

    @cached_property
    def settings(self) -> Any:
        return self.way.site.settings(self.host)[self.data_set.plan]

    @property
    def names(self) -> Sequence[str]:
        return sorted({name for host in self.production.fleet.hosts.values() for name in host.dns})

    @property
    def saved(self) -> Sequence[File]:
        return self.chosen.saved

    @property
    def wanted(self) -> Sequence[File]:
        return self.chosen.wanted

    @property
    def snapshot_time(self) -> datetime:
        return self.chosen.snapshot.time

    @cached_property
    def client(self) -> Web:
        own = self.way.site
        declared = own.fleet.hosts[self.host]
        name = declared.dns[0] if declared.dns else f"{self.host}.{own.fleet.site.domain}"
        return Web(own.lock.hosts[self.host].ipv4, name, trusted.pinned(own_certificate(self)))

    @property
    def record(self) -> Path:
        return record.folder(self.production)

    def sh(self, script: str, *arguments: str, timeout_s: float = 120) -> str:
        """See checks.Restored. The script comes by standard input: it may be long, and hold anything."""
        words = self.way.admin(self.host, "sudo", "-n", "sh", "-es", "--", *map(_quoted, arguments))
        try:
            done = subprocess.run(words, input=script.encode(), capture_output=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"a command on {self.host} took longer than {timeout_s:g} s") from None
        out = done.stdout.decode(errors="surrogateescape")
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip() or out.strip()
            raise CheckFailed(f"on {self.host}: {told[-1000:] or f'ended with {done.returncode}'}")
        return out

    def read(self, *paths: str) -> list[bytes]:
        """See checks.Restored."""
        if not paths:
            return []  # restic would take no path for all
        production = self.production
        with TemporaryDirectory(dir=self.scratch) as made:
            try:
                with reach(production) as way, way.store(self.chosen.store) as store:
                    include = [f"/{literally(path)}" for path in paths]
                    store.restic(self.data_set).restore(self.chosen.snapshot.id, Path(made), include=include)
                return [Path(made, path).read_bytes() for path in paths]
            except (Unreachable, ResticError, InputError, OSError) as error:
                told = ", ".join(paths)
                raise NotJudged(f"{told} cannot be read from {WORDS[self.chosen.store]}: {error}") from None

    def last(self, check: str) -> Sequence[str]:
        """See checks.Restored."""
        for report in book.reports(book.folder(self.production), lambda _: None):
            if report.data_set == str(self.data_set) and not report.fault:
                for run in report.checks:
                    if run.name == check and run.outcome in ("passed", "failed"):
                        return run.evidence
        return ()

    def mirror(self, name: str) -> Path:
        """See checks.Restored. The control host has its own; elsewhere it is cloned from where that gets it."""
        control = self.production.fleet.settings.get(CONTROL_ROLE, {})
        url = control.get("mirrors", {}).get(name)
        if not url:
            raise NotJudged(f"no mirror {name!r} in [settings.control.mirrors] of {self.production.path.name}")
        if self.production.control:
            place = mirror.FOLDER / f"{name}.git"
            if not place.exists():
                raise NotJudged(f"{place} was not fetched yet: `mainstay backup mirror`")
            return place
        place = self.scratch / f"{name}.git"
        if not place.exists():
            with TemporaryDirectory(dir=self.scratch) as made:
                words = ["git", "clone", "--quiet", "--bare", url, f"{made}/clone"]
                try:
                    done = subprocess.run(words, capture_output=True, text=True, timeout=CLONE_S, check=False)
                except subprocess.TimeoutExpired:
                    raise NotJudged(f"{url} could not be cloned within {CLONE_S} s") from None
                if done.returncode:
                    raise NotJudged(f"{url} cannot be cloned: {done.stderr.strip()}")
                Path(made, "clone").rename(place)
        return place


def _quoted(word: str) -> str:
    """As the shell that ssh starts takes it."""
    return "'" + word.replace("'", "'\\''") + "'"
