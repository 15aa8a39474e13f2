"""An audit of sources: all projects of a manifest that come from the audited remotes, as clients get them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import monotonic

import requests

from roles.gerrit.tools.sources import ask, deep, hits, lfs, mirrored, names
from roles.gerrit.tools.sources.findings import WRONG, Finding, Kind, settled
from roles.gerrit.tools.sources.git import GitError, scratch
from roles.gerrit.tools.sources.manifest import Manifest, Project
from roles.gerrit.tools.sources.refs import Refs

FETCHES = 6
"""At once: each is some processes here and one on the server."""
FOUND, NO_ANSWER = 51, 3
"""Exit codes, as those of an audit of releases."""


@dataclass(frozen=True)
class Scope:
    """What is audited. mirrors: of each remote that is, by its name in the manifest, the address of the folder that
    its projects are mirrored in, empty where there is none; authority: certificates that are trusted."""

    mirrors: Mapping[str, str]
    scratch: Path
    authority: Path | None = None
    files: bool = True
    """Whether pointers of LFS are looked for: of each repository trees and small files are fetched."""
    contents: bool = False
    """Whether the bytes of LFS objects are read, too."""


@dataclass(frozen=True)
class Verdict:
    """What was found. projects, of: how many were audited, of how many in the manifest; repositories: addresses that
    were asked, without mirrors; pointers: of LFS; read: repositories that were read whole."""

    projects: int
    of: int
    repositories: int
    pointers: int
    read: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def wrong(self) -> list[Finding]:
        return [one for one in self.findings if one.kind.severity == WRONG]

    @property
    def exit_code(self) -> int:
        """What is wrong counts more than what gave no answer."""
        kinds = {one.kind for one in self.wrong}
        return FOUND if kinds - {Kind.UNREACHABLE} else NO_ANSWER if kinds else 0

    def as_json(self, now: datetime) -> dict[str, object]:
        """For programs; times in ISO 8601."""
        return {
            "time": now.isoformat(),
            "clean": not self.wrong,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "projects": self.projects,
            "projects_of_manifest": self.of,
            "repositories": self.repositories,
            "lfs_pointers": self.pointers,
            "repositories_read": self.read,
            "findings": [one.as_json() for one in self.findings],
        }


@dataclass
class _Run:
    """An audit under way. commits: that clients check out and that are there, by address and revision."""

    scope: Scope
    session: requests.Session
    projects: Sequence[Project]
    tell: ask.Tell
    devices: frozenset[str]
    refs: dict[str, Refs] = field(default_factory=dict)
    commits: dict[tuple[str, str], str] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)
    pointers: int = 0

    def mirror(self, one: Project) -> str:
        base = self.scope.mirrors[one.remote].rstrip("/")
        return f"{base}/{one.name}" if base else ""

    def note(self, one: Project, kind: Kind, found: str, expected: str, *, url: str = "", file: str = "") -> None:
        groups, devices = hits.groups(one), hits.hit(one, self.devices)
        at = url or one.url
        about = (one.name, one.path, at, one.revision, file, kind, found, expected)
        self.found.append(Finding(*about, devices=devices, groups=groups, where=one.where))

    def of(self, url: str, revision: str = "") -> Iterator[Project]:
        """Projects that are checked out from there."""
        for one in self.projects:
            if one.url == url and revision in ("", one.revision):
                yield one


def audit(
    manifest: Manifest, scope: Scope, record: deep.Record | None, now: datetime, tell: ask.Tell = lambda *_: None
) -> Verdict:
    """Looks at everything. record: of whole repositories that were read, which is brought up to date; None: none is.

    tell: how many of how many are done, of one kind of work after the other.
    """
    begun = monotonic()
    every = [*manifest.projects, *([manifest.superproject] if manifest.superproject else [])]
    chosen = [one for one in every if one.remote in scope.mirrors]
    with ask.anonymous(scope.authority) as session:
        run = _Run(scope, session, chosen, tell, hits.devices(manifest.projects))
        run.refs = ask.ask(session, _wanted(run), tell)
        for one in chosen:
            _judge(run, one)
        _look_inside(run)
        _compare(run)
        read = _read(run, record, now) if record else 0
    urls = {one.url for one in chosen}
    seconds = monotonic() - begun
    return Verdict(len(chosen), len(every), len(urls), run.pointers, read, tuple(settled(run.found)), seconds)


def _wanted(run: _Run) -> dict[str, list[str]]:
    """Revisions by address, of servers and of mirrors."""
    wanted: dict[str, list[str]] = {}
    for one in run.projects:
        for url in filter(None, (one.url, run.mirror(one))):
            wanted.setdefault(url, []).append(one.revision)
    return wanted


def _judge(run: _Run, one: Project) -> None:
    """Whether it is there, for anybody, with its revision."""
    refs, mirror = run.refs[one.url], run.refs.get(run.mirror(one), Refs())
    kept = mirror.objects.get(ask.ref(one.revision))
    beside = f"; the mirror has {kept}" if kept else ""
    if refs.failure:
        run.note(one, refs.failure, f"{refs.said}{beside}", "a repository that anybody can read")
    elif commit := ask.commit(refs, one.revision):
        run.commits[one.url, one.revision] = commit
    else:
        as_tag = not one.revision.startswith("refs/") and refs.commit(ask.TAGS + one.revision)
        found = (
            f"a tag of that name: `repo` wants {ask.TAGS}{one.revision}" if as_tag else f"no {ask.ref(one.revision)}"
        )
        run.note(one, Kind.REVISION, found + beside, f"revision {one.revision}")


def _look_inside(run: _Run) -> None:
    """Fetches what clients would: all, where files are looked at; else ids that are no tip."""
    due: dict[tuple[str, str], list[str]] = {}
    for (url, revision), commit in run.commits.items():
        if run.scope.files or (names.is_sha(revision) and not ask.is_tip(run.refs[url], commit)):
            due.setdefault((url, commit), []).append(revision)

    def fetch(what: tuple[str, str]) -> int:
        url, commit = what
        return _fetch(run, url, commit, [one for revision in due[what] for one in run.of(url, revision)])

    run.pointers = sum(ask.on_all([*due], fetch, run.tell, FETCHES))


def _fetch(run: _Run, url: str, commit: str, mine: Sequence[Project]) -> int:
    """How many pointers there are."""
    try:
        if not run.scope.files:
            if error := ask.hindrance(url, commit, run.scope.scratch, run.scope.authority):
                raise error
            return 0
        with scratch(run.scope.scratch, run.scope.authority) as into:
            pointers = lfs.pointers(into, url, commit)
            at = lfs.server(into, url, commit) if pointers else ""
    except GitError as error:
        for one in mine:
            run.commits.pop((url, one.revision), None)
            run.note(one, error.kind, error.said, f"commit {commit}, for anybody")
        return 0
    if pointers and not at:
        for one in mine:
            found = f"{len(pointers)} files of LFS, on a host that .lfsconfig names"
            run.note(one, Kind.UNASKED, found, "an LFS server on the project's own host")
        return len(pointers)
    for fault in lfs.faults(run.session, at, sorted({*pointers.values()}), deep=run.scope.contents):
        files = [path for path, pointer in pointers.items() if pointer == fault.pointer] or [""]
        for one in mine:
            for path in files:
                run.note(one, fault.kind, fault.found, fault.expected, file=path)
    return len(pointers)


def _compare(run: _Run) -> None:
    """With mirrors. What differs is asked once more: replication takes a moment."""
    there = [one for one in run.projects if run.mirror(one) and (one.url, one.revision) in run.commits]

    def differs(one: Project) -> bool:
        return not mirrored.same(run.refs[one.url], run.refs[run.mirror(one)], one.revision)

    if apart := [one for one in there if differs(one)]:
        again = _wanted(replace(run, projects=apart))
        run.refs |= ask.ask(run.session, again, run.tell)
    apart = [one for one in apart if differs(one)]
    below, authority = run.scope.scratch, run.scope.authority

    def judge(one: Project) -> None:
        url = run.mirror(one)
        told = mirrored.judged(one, url, run.refs[one.url], run.refs[url], below, authority)
        if told:
            run.note(one, *told, url=url)

    ask.on_all(apart, judge, run.tell, FETCHES)


def _read(run: _Run, record: deep.Record, now: datetime) -> int:
    """What is due of whole repositories; of such as answer."""
    urls = sorted({one.url for one in run.projects if not run.refs[one.url].failure})
    due = record.due(urls, now)

    def one(url: str) -> None:
        size = 0
        try:
            size = deep.read(url, run.scope.scratch, run.scope.authority)
        except GitError as error:
            for project in run.of(url):
                run.note(project, error.kind, error.said, "all objects of all refs, whole")
            if error.kind is not Kind.BROKEN:
                return
        record.note(url, size, now)

    ask.on_all(due, one, run.tell, FETCHES)
    return len(due)
