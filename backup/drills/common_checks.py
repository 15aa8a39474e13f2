"""The checks that hold for every role: what lies on the restored host is what the snapshot lists."""

from collections.abc import Callable, Sequence
from functools import partial

from backup.agent.refs import GC_LOCK, MANIFEST
from backup.drills.checks import Check, CheckFailed, Evidence, File, Restored
from backup.drills.on_host import Lying, lying, microseconds, moment, name, some
from backup.sizes import counted, size

NEAR = 1
"""Microseconds that a time may differ by: restic knows nanoseconds, and one rounds where the other cuts."""
PERMISSIONS = 0o777
REWRITTEN = ("HEAD", "HEAD.lock", "packed-refs", "packed-refs.lock", GC_LOCK, f"{GC_LOCK}.lock")
"""In a git repository whose refs are put back from the manifest (backup/agent/refs.py), as is all of refs/."""


def files(copy: Restored, lives: Callable[[str], bool] = lambda path: False) -> Evidence:
    """All that was to be restored is there, of its type, size and time, and nothing that was not saved.

    lives: whether the restored service itself changes a path, which is then not looked at.
    """
    by_restore = rewritten(copy.saved)

    def is_rewritten(path: str) -> bool:
        return by_restore(path) or lives(path)

    wanted = {path: file for path, file in _wanted(copy).items() if not lives(path)}
    there = lying(copy)
    saved = {name(file.path) for file in copy.saved}
    wrong = {
        "missing": [path for path in wanted if path not in there],
        "not of the saved type": [path for path, file in _both(wanted, there) if file.type != there[path].type],
        "not of the saved size": [path for path, file in _files(wanted, there) if file.size != there[path].size],
        "not of the saved time": [path for path, file in _files(wanted, there) if _differs(file, there[path])],
        "there, and not in the snapshot": [path for path in there if path not in saved and not is_rewritten(path)],
        "there, and not of the part that was to be restored": [
            path for path in there if path in saved and path not in wanted and not is_rewritten(path)
        ],
    }
    _judge(wrong)
    kinds = [file.type for file in wanted.values()]
    whole = sum(file.size for file in wanted.values() if file.type == "file")
    said = f"{counted(kinds.count('file'), 'file')}, {size(whole)}, {counted(kinds.count('dir'), 'folder')}"
    every = sum(1 for file in copy.saved if file.path != MANIFEST and not is_rewritten(name(file.path)))
    return Evidence((f"{said}: type, size and time of each",), covered=len(wanted), of=every)


def owners(copy: Restored, owner: str) -> Evidence:
    """User and group, by their names, and permissions. Numbers alone prove nothing: another host gives them anew.

    owner: the user and group of what the snapshot tells no names of, but for what is root's, whose number is the same
    everywhere.
    """
    there = lying(copy)
    both = _both(_wanted(copy), there)
    wrong = {
        "not of the right user": [
            f"{path} ({there[path].user}, expected {_name(file.user, file.uid, owner)})"
            for path, file in both
            if there[path].user != _name(file.user, file.uid, owner)
        ],
        "not of the right group": [
            f"{path} ({there[path].group}, expected {_name(file.group, file.gid, owner)})"
            for path, file in both
            if there[path].group != _name(file.group, file.gid, owner)
        ],
        "not of the saved mode": [
            f"{path} ({there[path].mode & PERMISSIONS:04o}, saved as {file.mode & PERMISSIONS:04o})"
            for path, file in both
            if file.type != "symlink" and (file.mode ^ there[path].mode) & PERMISSIONS
        ],
    }
    _judge(wrong)
    pairs = sorted({f"{there[path].user}:{there[path].group}" for path, _ in both})
    return Evidence((f"{counted(len(both), 'path')} of {some(pairs)}",), len(both), len(both))


def _name(told: str, number: int | None, owner: str) -> str:
    return told or ("root" if number == 0 else owner)


def stale(copy: Restored) -> Evidence:
    """The newest file is as new as the newest that the snapshot lists."""
    listed = [
        (microseconds(file.mtime), path) for path, file in _wanted(copy).items() if file.type == "file" and file.mtime
    ]
    if not listed:
        return Evidence(("there is no file that could be stale",))
    is_rewritten = rewritten(copy.saved)
    there = [(one.mtime, path) for path, one in lying(copy).items() if one.type == "file" and not is_rewritten(path)]
    newest, path = max(listed)
    found, other = max(there, default=(0, "nothing"))
    if found < newest - NEAR:
        saved = f"the snapshot has {some([path])} of {moment(newest)}"
        raise CheckFailed(f"the newest file is {some([other])} of {moment(found)}, {saved}")
    return Evidence((f"the newest is {some([path])} of {moment(newest)}, as in the snapshot",))


FILES = Check(
    "files",
    "everything that was saved is there, with type, size and time, and nothing else",
    "what the snapshot lists",
    files,
)


def files_but(lives: Callable[[str], bool], what: str) -> Check:
    """The check of files, of a role whose service changes some of them; what: those that it does not, in words."""
    proves = f"{what}: all that was saved is there, with type, size and time, and nothing else"
    return Check("files", proves, "what the snapshot lists", partial(files, lives=lives), after=False)


def owned_by(owner: str) -> Check:
    """The check of owners and permissions, of a role whose data belongs to this user."""
    what = "everything belongs to its user and group, with its permissions"
    return Check("owners", what, f"the user {owner}, and what the snapshot lists", partial(owners, owner=owner))


STALE = Check(
    "stale", "what came back is not older than the snapshot", "the newest file that the snapshot lists", stale
)


def rewritten(saved: Sequence[File]) -> Callable[[str], bool]:
    """Tells whether a restore itself writes a path anew: refs of git repositories, where a manifest has them."""
    paths = {name(file.path) for file in saved}
    if MANIFEST not in paths:
        return lambda path: False
    repositories = {
        path.removesuffix("HEAD") for path in paths if path.endswith("/HEAD") and f"{path[:-4]}objects" in paths
    }
    exact = {f"{repository}{file}" for repository in repositories for file in REWRITTEN}

    def is_one(path: str) -> bool:
        at = path.find("/refs/")
        while at >= 0:
            if path[: at + 1] in repositories:
                return True
            at = path.find("/refs/", at + 1)
        return path in exact

    return is_one


def _wanted(copy: Restored) -> dict[str, File]:
    """By path. restic restores no sockets, and the manifest of refs goes when they have been put back."""
    is_rewritten = rewritten(copy.saved)
    found = {name(file.path): file for file in copy.wanted if file.type != "socket" and file.path != MANIFEST}
    if not found:
        raise CheckFailed("the snapshot lists nothing that was to be restored")
    return {path: file for path, file in found.items() if not is_rewritten(path)}


def _both(wanted: dict[str, File], there: dict[str, Lying]) -> list[tuple[str, File]]:
    return [(path, file) for path, file in wanted.items() if path in there]


def _files(wanted: dict[str, File], there: dict[str, Lying]) -> list[tuple[str, File]]:
    """A folder's size says nothing, and its time is that of the restore where only a part of it came back."""
    return [(path, file) for path, file in _both(wanted, there) if file.type == there[path].type == "file"]


def _differs(file: File, there: Lying) -> bool:
    return file.mtime is not None and abs(microseconds(file.mtime) - there.mtime) > NEAR


def _judge(wrong: dict[str, list[str]]) -> None:
    found = [f"{counted(len(paths), 'path')} {what}: {some(sorted(paths))}" for what, paths in wrong.items() if paths]
    if found:
        raise CheckFailed(*found)
