"""Refs of git repositories, written down before the objects are saved, and put in force when they are restored.

Without a snapshot of the file system, a backup of a repository that is pushed to reads objects before refs, and saves
refs to objects it does not have. Objects that a ref led to before the backup began are all in it (as long as none are
pruned meanwhile): so the refs of that moment are kept in a manifest, and a restored repository gets these as its
packed-refs. Formats: gitrepository-layout(5), git-pack-refs(1). No git program is run: a repository's configuration
can name commands, and this is root.

Names are bytes; those that are not UTF-8 survive in the manifest as JSON escapes of lone surrogates.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

MANIFEST = ".mainstay-refs.json"
"""Below the plan's root, saved with it."""
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class RefsError(Exception):
    """Refs that cannot be saved or put back this way."""


def write(root: Path, paths: Sequence[str]) -> int:
    """Writes the manifest of all repositories below the paths; returns how many there are. Raises RefsError."""
    found = {}
    for path in paths:
        for repository in repositories(root / path):
            found[os.path.relpath(repository, root)] = {"head": _head(repository), "refs": refs(repository)}
    fresh = root / f"{MANIFEST}.fresh"
    fresh.unlink(missing_ok=True)
    with open(fresh, "x", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as out:
        json.dump({"repositories": found}, out, sort_keys=True)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(root / MANIFEST)
    return len(found)


def repositories(top: Path) -> Iterator[Path]:
    """Repositories at or below a folder, bare ones and the .git of others."""
    for folder, names, files in os.walk(top):
        if "HEAD" in files and {"objects", "refs"} <= set(names):
            if "reftable" in names:
                raise RefsError(f"{folder}: keeps its refs as reftable, which only a snapshot can save")
            names[:] = [name for name in names if name not in ("objects", "refs", "logs", "hooks")]
            yield Path(folder)


def refs(repository: Path) -> dict[str, str]:
    """All refs but HEAD: loose ones, read before packed ones, as one that is being packed is in both."""
    loose: dict[str, str] = {}
    for folder, _, files in os.walk(repository / "refs"):
        for file in files:
            path = Path(folder, file)
            if not file.endswith(".lock") and (value := _value(path)):
                loose[os.path.relpath(path, repository)] = value
    return _packed(repository) | loose


def _value(path: Path) -> str:
    """Of a ref's file; empty if it is gone, or no ref (a push is killed before its file is filled)."""
    try:
        value = path.read_text(errors="surrogateescape").strip()
    except FileNotFoundError:
        return ""
    return value if HASH.fullmatch(value) or value.startswith("ref: ") else ""


def _head(repository: Path) -> str:
    return _value(repository / "HEAD")


def _packed(repository: Path) -> dict[str, str]:
    try:
        lines = (repository / "packed-refs").read_text(errors="surrogateescape").split("\n")
    except FileNotFoundError:
        return {}
    pairs = [line.split(" ", 1) for line in lines if line and line[0] not in "#^"]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and HASH.fullmatch(pair[0])}


def install(root: Path) -> tuple[int, list[str]]:
    """Gives the repositories below a restored root the refs of its manifest, and removes it.

    Returns how many, and those that the manifest does not know: they were made while the backup ran, and may lack
    objects. Raises RefsError.
    """
    file = root / MANIFEST
    try:
        known = json.loads(file.read_text())["repositories"]
        restored = [os.path.relpath(repository, root) for repository in repositories(root)]
        for path in restored:
            if path in known:
                _install(root / path, str(known[path]["head"]), dict(known[path]["refs"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefsError(f"{file}: no manifest of refs: {error!r}") from error
    file.unlink()
    return len(set(restored) & known.keys()), sorted(set(restored) - known.keys())


def _install(repository: Path, head: str, wanted: dict[str, str]) -> None:
    owner = (repository / "refs").stat()
    for entry in list((repository / "refs").iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for left in ("packed-refs.lock", "HEAD.lock"):
        (repository / left).unlink(missing_ok=True)
    hashes = {name: value for name, value in wanted.items() if not value.startswith("ref: ")}
    lines = [f"{value} {name}\n" for name, value in hashes.items()]
    lines.sort(key=lambda line: os.fsencode(line.split(" ", 1)[1]))
    _put(repository / "packed-refs", "# pack-refs with: sorted \n" + "".join(lines), owner)
    for folder in ("refs/heads", "refs/tags"):
        _folder(repository / folder, owner)
    for name, value in wanted.items() - hashes.items():
        if ".." in name.split("/") or not name.startswith("refs/"):
            raise RefsError(f"{repository}: {name!r} is not a ref")
        for parent in reversed((repository / name).relative_to(repository).parents):
            _folder(repository / parent, owner)
        _put(repository / name, f"{value}\n", owner)
    if head:
        _put(repository / "HEAD", f"{head}\n", owner)


def _folder(path: Path, owner: os.stat_result) -> None:
    if not path.is_dir():
        path.mkdir(mode=owner.st_mode & 0o7777)
        os.chown(path, owner.st_uid, owner.st_gid)


def _put(path: Path, text: str, owner: os.stat_result) -> None:
    """A file as the folder refs is owned, readable as that is."""
    path.unlink(missing_ok=True)
    path.write_bytes(os.fsencode(text))
    path.chmod(owner.st_mode & 0o666)
    os.chown(path, owner.st_uid, owner.st_gid)
