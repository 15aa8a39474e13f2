"""An audit of sources: all projects of a manifest that come from the audited remotes, as clients get them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from time import monotonic, sleep

import requests

from roles.common.turns import Coverage
from roles.gerrit.tools.sources import ask, deep, hits, lfs, mirrored, names
from roles.gerrit.tools.sources.findings import WRONG, Finding, Kind, settled
from roles.gerrit.tools.sources.git import GitError, Place, surely
from roles.gerrit.tools.sources.manifest import Manifest, Project
from roles.gerrit.tools.sources.refs import Refs

FETCHES, READS = 6, 2
"""At once: each is some processes here and one on the server. Whole repositories take memory and room, too."""
FOUND, NO_ANSWER = 51, 3
"""Exit codes, as those of an audit of releases."""


@dataclass(frozen=True)
class Scope:
    """What is audited. mirrors: of each remote that is, by its name in the manifest, the address of the folder that
    its projects are mirrored in, empty where there is none; patience_s: what gave no answer, or is not on the mirror
    yet, is asked once more after so many seconds."""

    mirrors: Mapping[str, str]
    place: Place
    files: bool = True
    """Whether pointers of LFS are looked for: of each repository trees and small files are fetched."""
    patience_s: float = 0


@dataclass(frozen=True)
class Verdict:
    """What was found. projects, of: how many were audited, of how many in the manifest; repositories: addresses that
    were asked, without mirrors; pointers: of LFS; read: repositories and objects of LFS that were read whole; coverage:
    how much of all was, None where nothing is read."""

    projects: int
    of: int
    repositories: int
    pointers: int
    read: int
    coverage: Coverage | None
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def wrong(self) -> list[Finding]:
        return [one for one in self.findings if one.kind.severity == WRONG]

    @property
    def exit_code(self) -> int:
        """What is wrong counts more than what gave no answer."""
        return exit_code(self.wrong)


def exit_code(wrong: Sequence[Finding]) -> int:
    """Of findings that fail an audit."""
    kinds = {one.kind for one in wrong}
    return FOUND if kinds - {Kind.UNREACHABLE} else NO_ANSWER if kinds else 0


@dataclass
class _Run:
    """An audit under way. commits: that clients check out and that are there, by address and revision; objects: of
    LFS, by address, and faulty: those that are not as they should be."""

    scope: Scope
    session: requests.Session
    projects: Sequence[Project]
    tell: ask.Tell
    devices: frozenset[str]
    refs: dict[str, Refs] = field(default_factory=dict)
    commits: dict[tuple[str, str], str] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)
    objects: dict[str, "_Object"] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
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


@dataclass
class _Object:
    """Of LFS. at: its server; files: that it is the content of, each with its project."""

    at: str
    pointer: lfs.Pointer
    files: list[tuple[Project, str]] = field(default_factory=list)


def audit(
    manifest: Manifest, scope: Scope, record: deep.Record | None, now: datetime, tell: ask.Tell = lambda *_: None
) -> Verdict:
    """Looks at everything. record: of what was read whole, which is brought up to date; None: nothing is.

    tell: how many of how many are done, of one kind of work after the other.
    """
    begun = monotonic()
    every = [*manifest.projects, *([manifest.superproject] if manifest.superproject else [])]
    chosen = [one for one in every if one.remote in scope.mirrors]
    with ask.anonymous(scope.place.authority) as session:
        run = _Run(scope, session, chosen, tell, hits.devices(manifest.projects))
        _ask(run)
        for one in chosen:
            _judge(run, one)
        _look_inside(run)
        read, coverage = _read(run, record, now) if record else (0, None)
        _compare(run)
    urls = {one.url for one in chosen}
    counts = (len(chosen), len(every), len(urls), run.pointers, read)
    return Verdict(*counts, coverage, tuple(settled(run.found)), monotonic() - begun)


def _ask(run: _Run) -> None:
    wanted = _wanted(run)
    run.refs = ask.ask(run.session, wanted, run.tell)
    silent = {url: wanted[url] for url, one in run.refs.items() if one.failure is Kind.UNREACHABLE}
    if silent and run.scope.patience_s:
        sleep(run.scope.patience_s)
        run.refs |= ask.ask(run.session, silent, run.tell)


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
        found = f"no {ask.ref(one.revision)}"
        if as_tag:
            found = f"a tag of that name: `repo` wants {ask.TAGS}{one.revision}"
        elif ask.HEAD not in refs.objects:  # as Gerrit answers where all branches are private
            found += ", nor HEAD: may anybody see its branches?"
        run.note(one, Kind.REVISION, found + beside, f"revision {one.revision}")


def _look_inside(run: _Run) -> None:
    """Fetches what clients would: all, where files are looked at; else ids that are no tip."""
    due: dict[tuple[str, str], list[str]] = {}
    for (url, revision), commit in run.commits.items():
        if run.scope.files or (names.is_sha(revision) and not ask.is_tip(run.refs[url], commit)):
            due.setdefault((url, commit), []).append(revision)

    def fetch(what: tuple[str, str]) -> list[_Object]:
        url, commit = what
        return _fetch(run, url, commit, [one for revision in due[what] for one in run.of(url, revision)])

    for found in ask.on_all([*due], fetch, run.tell, FETCHES, run.scope.place.end):
        for one in found:
            run.pointers += len({file for _, file in one.files})
            known = run.objects.setdefault(lfs.address(one.at, one.pointer), _Object(one.at, one.pointer))
            known.files += one.files


def _fetch(run: _Run, url: str, commit: str, mine: Sequence[Project]) -> list[_Object]:
    """Objects of LFS that it needs."""
    try:
        pointers, at = surely(partial(_inside, run.scope, url, commit))
    except GitError as error:
        for one in mine:
            run.commits.pop((url, one.revision), None)
            run.note(one, error.kind, error.said, f"commit {commit}, for anybody")
        return []
    if pointers and not at:
        for one in mine:
            found = f"{len(pointers)} files of LFS, on a host that .lfsconfig names"
            run.note(one, Kind.UNASKED, found, "an LFS server on the project's own host")
        return []
    objects = {one: _Object(at, one) for one in sorted({*pointers.values()})}
    for path, pointer in pointers.items():
        objects[pointer].files += [(one, path) for one in mine]
    for fault in lfs.faults(run.session, at, [*objects], deep=False):
        if fault.pointer:
            _blame(run, objects[fault.pointer], fault)
        else:
            run.faulty |= {lfs.address(at, one) for one in objects}
            for one in mine:
                run.note(one, fault.kind, fault.found, fault.expected)
    return [*objects.values()]


def _inside(scope: Scope, url: str, commit: str) -> tuple[dict[str, lfs.Pointer], str]:
    """Pointers of LFS in a commit by their paths, and the server that has their objects. Raises GitError."""
    if not scope.files:
        if error := ask.hindrance(url, commit, scope.place):
            raise error
        return {}, ""
    with scope.place.scratch() as into:
        pointers = lfs.pointers(into, url, commit)
        return pointers, lfs.server(into, url, commit) if pointers else ""


def _blame(run: _Run, one: _Object, fault: lfs.Fault) -> None:
    run.faulty.add(lfs.address(one.at, one.pointer))
    for project, path in one.files:
        run.note(project, fault.kind, fault.found, fault.expected, file=path)


def _compare(run: _Run) -> None:
    """With mirrors. What differs is asked once more: replication takes a moment."""
    there = [one for one in run.projects if run.mirror(one) and (one.url, one.revision) in run.commits]

    def differs(one: Project) -> bool:
        return not mirrored.same(run.refs[one.url], run.refs[run.mirror(one)], one.revision)

    if apart := [one for one in there if differs(one)]:
        sleep(run.scope.patience_s)
        again = _wanted(replace(run, projects=apart))
        run.refs |= ask.ask(run.session, again, run.tell)
    apart = [one for one in apart if differs(one)]

    def judge(one: Project) -> None:
        url = run.mirror(one)
        told = mirrored.judged(one, url, run.refs[one.url], run.refs[url], run.scope.place)
        if told:
            run.note(one, *told, url=url)

    ask.on_all(apart, judge, run.tell, FETCHES, run.scope.place.end)


def _read(run: _Run, record: deep.Record, now: datetime) -> tuple[int, Coverage]:
    """What is due, of what answers; how many it is."""
    answering = {one.url for one in run.projects if not run.refs[one.url].failure}
    sizes = {one.url: 0 for one in run.projects} | {at: one.pointer.size for at, one in run.objects.items()}
    record.look(sizes, now, all_there=all((one.url, one.revision) in run.commits for one in run.projects))
    due = record.due(answering | (run.objects.keys() - run.faulty), now)

    def one(what: str) -> None:
        is_object = what in run.objects
        told = _read_object(run, run.objects[what]) if is_object else _read_repository(run, what)
        if told:
            size, damaged = told
            record.note(what, size, now, damaged=damaged)

    ask.on_all(due, one, run.tell, READS, run.scope.place.end)
    return len(due), record.coverage(sizes, now)


def _read_repository(run: _Run, url: str) -> tuple[int, bool] | None:
    """Its bytes, and whether it is damaged; None where it could not be read."""
    try:
        return surely(partial(deep.read, url, run.scope.place)), False
    except GitError as error:
        for project in run.of(url):
            run.note(project, error.kind, error.said, "all objects of all refs, whole")
        return (0, True) if error.kind is Kind.BROKEN else None


def _read_object(run: _Run, one: _Object) -> tuple[int, bool] | None:
    found = [*lfs.faults(run.session, one.at, [one.pointer], deep=True)]
    for fault in found:
        _blame(run, one, fault)
    return None if any(fault.kind is Kind.LFS_SERVER for fault in found) else (one.pointer.size, bool(found))
