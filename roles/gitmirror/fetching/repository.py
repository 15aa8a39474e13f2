"""One repository of the mirror: made, brought up to date, and swept after a run that was cut off.

A reader never sees a ref whose objects are not there: a new repository is fetched where nobody is served from and
renamed when it is whole, and `git fetch` changes refs once it has all objects and has looked whether they connect.

What upstream deletes or rewrites goes from the refs, and its old tip stays for some time as refs/kept/TIME/..., which
clients are not told of (serving.gitconfig): gc leaves the objects, and who is in the middle of a sync gets them by id.
"""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from roles.gitmirror.fetching.git import Git, GitError
from roles.gitmirror.fetching.plan import Plan
from roles.gitmirror.fetching.source import Told

TOLD = "mainstay-told"
"""In a repository: the refs that it has, as a source that has the same tells them; nothing else is compared."""
BEGUN = "mainstay-begun"
"""In a repository: there while it is worked on, so that a run which was cut off is seen by the next."""
KEPT, STAMP = "refs/kept/", "%Y%m%dT%H%M%SZ"
LEFT = ("tmp_", ".tmp-", "incoming-")
"""What names begin with of objects that were not whole when git was killed."""


@dataclass(frozen=True)
class Mirror:
    """What is the same for all repositories of a run."""

    plan: Plan
    git: Git

    def place(self, name: str) -> Path:
        return self.plan.public / f"{name}.git"

    def is_current(self, name: str, told: Told) -> bool:
        """Whether a repository has what the source told, which costs no process."""
        place = self.place(name)
        if (place / BEGUN).exists():
            return False
        with suppress(FileNotFoundError):
            return (place / TOLD).read_text(errors="surrogateescape") == told.text(self.plan.refs)
        return False

    def asked(self, name: str) -> Told:
        """What the source tells by `git ls-remote`, for servers that have no protocol 2. Raises GitError."""
        out = self.git.run(self.plan.incoming, "ls-remote", "--symref", "--", self._url(name))
        head = ""
        refs = {}
        for tip, _, ref in (line.partition("\t") for line in out.splitlines()):
            if ref == "HEAD" and tip.startswith("ref: "):
                head = tip.removeprefix("ref: ")
            elif ref.startswith(self.plan.refs) and not ref.endswith("^{}"):
                refs[ref] = tip
        return Told(refs, head if head in refs else "")

    def bring(self, name: str, told: Told) -> str:
        """Makes or updates a repository; returns what changed, in words. Raises GitError, OSError."""
        place = self.place(name)
        if place.exists():
            return self._update(place, name, told)
        fresh = self.plan.incoming / f"{sha256(name.encode()).hexdigest()[:16]}.git"
        try:
            self.git.run(fresh, "init", "--quiet", "--bare", "--template=")
            said = self._update(fresh, name, told)
            self.git.run(fresh, "pack-refs", "--all")
            for file in (fresh / "HEAD", fresh / "config", fresh / TOLD):
                _sync(file)
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh.rename(place)
        except BaseException:
            remove(fresh)
            raise
        _sync(place.parent)
        return f"new, {said}"

    def _update(self, place: Path, name: str, told: Told) -> str:
        """The record of before is replaced last: the run after one that was cut off keeps what that one has lost."""
        if (place / BEGUN).exists():
            sweep(place)
        old = _recorded(place)
        if old and not told.refs:
            raise GitError("it has no branches and tags any more: the mirror is left as it is")
        (place / BEGUN).touch()
        try:
            self._fetch(place, name)
        except GitError:
            sweep(place)
            raise
        now = self._tidied(place, old)
        head = told.head if told.head in now else ""
        if head and self.git.run(place, "symbolic-ref", "HEAD").strip() != head:
            self.git.run(place, "symbolic-ref", "HEAD", head)
        fresh = place / f"{TOLD}.new"
        fresh.write_text(Told(now, head).text(self.plan.refs), errors="surrogateescape")
        fresh.rename(place / TOLD)
        self.git.run(place, "maintenance", "run", "--auto", "--quiet", timeout_s=self.plan.fetch_minutes * 60)
        (place / BEGUN).unlink()
        changed = sum(old.get(ref) != now.get(ref) for ref in old.keys() | now.keys())
        return f"{changed} of {len(now)} refs changed"

    def _fetch(self, place: Path, name: str) -> None:
        words = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance")
        kinds = [f"+{one}*:{one}*" for one in self.plan.refs]
        self.git.run(place, "fetch", *words, "--", self._url(name), *kinds, timeout_s=self.plan.fetch_minutes * 60)

    def _tidied(self, place: Path, old: Mapping[str, str]) -> dict[str, str]:
        """The refs after a fetch. What was lost by it is kept; what was kept for long enough, or is not mirrored any
        more, goes."""
        lines = self.git.run(place, "for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        refs = {ref: tip for tip, _, ref in (line.partition(" ") for line in lines)}
        now = {ref: tip for ref, tip in refs.items() if ref.startswith(self.plan.refs)}
        today = datetime.now(UTC)
        known = {(ref.split("/", 3)[-1], tip) for ref, tip in refs.items() if ref.startswith(KEPT)}
        lost = {(ref.removeprefix("refs/"), tip) for ref, tip in old.items() if self._is_lost(place, ref, tip, now)}
        stamp = today.strftime(STAMP)
        orders = [f"update {KEPT}{stamp}/{ref} {tip}" for ref, tip in sorted(lost - known)]
        since = (today - timedelta(days=self.plan.kept_days)).strftime(STAMP)
        orders += [f"delete {ref}" for ref in refs if ref.startswith(KEPT) and ref.split("/")[2] < since]
        orders += [f"delete {ref}" for ref in refs if not ref.startswith((KEPT, *self.plan.refs))]
        if orders:
            self.git.run(place, "update-ref", "--stdin", stdin="\n".join(orders) + "\n")
        return now

    def _is_lost(self, place: Path, ref: str, tip: str, now: Mapping[str, str]) -> bool:
        """Whether a ref's old tip is not in the history of its new one: gone, rewritten, or a tag that was moved."""
        if now.get(ref) == tip:
            return False
        if ref not in now or ref.startswith("refs/tags/"):
            return True
        return not self.git.succeeds(place, "merge-base", "--is-ancestor", tip, now[ref])

    def _url(self, name: str) -> str:
        return f"{self.plan.source}/{quote(name)}"


def sweep(place: Path) -> None:
    """Removes what a killed git, or one without room, leaves: its locks, and objects that are not whole.

    Nobody else may be at work there. Readers take none of it.
    """
    for folder, folders, files in os.walk(place):
        below = Path(folder)
        is_object = "objects" in below.relative_to(place).parts
        for name in (*files, *(folders if is_object else ())):
            if name.endswith(".lock") or name == "gc.pid" or (is_object and name.startswith(LEFT)):
                remove(below / name)


def remove(path: Path) -> None:
    """With all that it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def age_days(file: Path) -> float:
    """Since it was written."""
    return (time.time() - file.stat().st_mtime) / 86400


def _recorded(place: Path) -> dict[str, str]:
    with suppress(FileNotFoundError):
        return Told.read((place / TOLD).read_text(errors="surrogateescape")).refs
    return {}


def _sync(path: Path) -> None:
    """What a power cut would take."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
