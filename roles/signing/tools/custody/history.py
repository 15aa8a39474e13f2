"""Whether a repository's history only ever added lines to logs, and what its logs were at a commit."""

from collections.abc import Iterator
from typing import NamedTuple

from roles.signing.tools.custody import records
from roles.signing.tools.custody.git import REMOTE, Git
from roles.signing.tools.errors import HsmError

NOTHING = "0" * 40


class Change(NamedTuple):
    """What a commit did to a file; objects as git names them, NOTHING where there is none."""

    commit: str
    path: str
    before: str
    after: str


def problems(git: Git) -> Iterator[str]:
    """What is not append-only. Raises HsmError where there is no commit at all."""
    head = git.run("rev-parse", "HEAD").decode().strip()
    for merge in git.run("rev-list", "--min-parents=2", "HEAD").decode().split():
        yield f"commit {merge[:12]} joins two histories: one of them was not drained into this repository"
    if len(roots := git.run("rev-list", "--max-parents=0", "HEAD").decode().split()) > 1:
        yield f"the history has {len(roots)} beginnings"
    changes = list(_changes(git))
    blobs = _read(git, {one for change in changes for one in (change.before, change.after)})
    for change in changes:
        if change.after == NOTHING:
            yield f"commit {change.commit[:12]} removes {change.path}"
        elif not blobs[change.after].startswith(blobs[change.before]):
            yield f"commit {change.commit[:12]} changes lines of {change.path} that were there"
    if f"remotes/{REMOTE}" in git.run("for-each-ref", "--format=%(refname)", "refs/remotes").decode():
        yield from _beside_remote(git, head)
    if left := git.run("status", "--porcelain", "--untracked-files=all").decode().splitlines():
        yield f"in no commit: {', '.join(one[3:] for one in left)}; `mainstay hsm drain` puts that in order"


def lines(git: Git, revision: str) -> dict[int, list[str]]:
    """All lines of each device's log, by serial number. Raises HsmError."""
    code, out, _ = git.tried("ls-tree", "-r", "-z", "--full-tree", f"{revision}^{{commit}}")
    if code:
        raise HsmError(f"{git.folder}: there is no commit {revision}")
    found: dict[str, str] = {}
    for one in filter(None, out.decode().split("\0")):
        about, _, path = one.partition("\t")
        if records.NAME.fullmatch(path):
            found[path] = about.split()[2]
    blobs = _read(git, set(found.values()))
    logs: dict[int, list[str]] = {}
    for path in sorted(found):
        logs.setdefault(int(path.partition("/")[0]), []).extend(blobs[found[path]].decode().splitlines())
    return logs


def _beside_remote(git: Git, head: str) -> Iterator[str]:
    """Commits that were pushed or fetched, and are not part of this history."""
    refs = git.run("for-each-ref", "--format=%(refname)", f"refs/remotes/{REMOTE}").decode().split()
    for ref in refs:
        if git.run("rev-list", "--max-count=1", ref, f"^{head}").strip():
            yield f"{ref} has commits that this history lacks: one of the two was rewritten, or is older"


def _changes(git: Git) -> Iterator[Change]:
    """Of logs, by all commits, oldest first."""
    told = git.run(
        *("log", "--reverse", "--raw", "-m", "--root", "--no-renames", "--no-abbrev", "-z", "--format=%x00%H", "HEAD"),
    ).decode()
    commit, words = "", iter(told.split("\0"))
    for word in words:
        text = word.strip()
        if text.startswith(":"):
            _, _, before, after, _ = text.split()
            path = next(words)
            if records.NAME.fullmatch(path):
                yield Change(commit, path, before, after)
        elif text:
            commit = text


def _read(git: Git, names: set[str]) -> dict[str, bytes]:
    """Objects by their names, in one process."""
    wanted = sorted(names - {NOTHING})
    found = {NOTHING: b""}
    out = git.run("cat-file", "--batch", given="".join(f"{one}\n" for one in wanted).encode()) if wanted else b""
    for name in wanted:
        head, _, out = out.partition(b"\n")
        size = int(head.split()[2])
        found[name], out = out[:size], out[size + 1 :]
    return found
