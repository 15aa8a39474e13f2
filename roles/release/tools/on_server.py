"""What publishing does on a release server: the standard library only, sent over ssh and run as the archive's owner.

It answers a line of JSON to each line of JSON, as long as the connection lasts; `{"progress": BYTES}` comes in between.
The server's lock goes with the connection: a publisher that died holds up nobody. What it had begun is on disk until it
is closed or abandoned, and any run goes on with it from where it is:

    incoming/ID/manifest.json  what is published; nobody else may begin until it is closed or abandoned
    incoming/ID/files/PATH     what was uploaded, not served
    public/PATH                packages and their checksums; never changed, never replaced
    metadata/                  a commit of the metadata repository, named in metadata/.commit; exchanged as a whole
    publications/ID.json       the manifests of all that was published
"""

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BLOCK = 4 << 20
TELL_BYTES = 64 << 20
LINE_BYTES = 64 << 20
"""Of a request: a site's whole metadata is one."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
LIBC = ctypes.CDLL(None, use_errno=True)
COMMIT = ".commit"

Answer = dict[str, Any]
Tell = Callable[[int], None]


class Refused(Exception):
    """Why a request is not carried out."""


def below(root: Path, path: str) -> Path:
    """A path of a manifest, which leads out of the root by no name and by no link. Raises Refused."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts):
        raise Refused(f"{path!r} is no path of an archive")
    at = root
    for part in parts[:-1]:
        at = at / part
        if at.is_symlink():
            raise Refused(f"{at} is a link")
    return at / parts[-1]


def sync(path: Path) -> None:
    """What is in a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder(path: Path, root: Path) -> None:
    """Makes a folder below root with all above it, each on the disk before what it holds."""
    if path == root or path.is_dir():
        return
    folder(path.parent, root)
    path.mkdir(mode=0o755, exist_ok=True)
    sync(path.parent)


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Two paths of a filesystem change places in one step, renameat2(2), once all that was written to it is on the
    disk, syncfs(2)."""
    handle = os.open(one, os.O_RDONLY)
    try:
        failed = LIBC.syncfs(handle) or LIBC.renameat2(
            AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE
        )
    finally:
        os.close(handle)
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))
    sync(one.parent)


def known(path: Path) -> tuple[int, ...]:
    """What changes when somebody writes to a file."""
    seen = path.lstat()
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


def sha256(path: Path, tell: Tell) -> str:
    """Of a regular file that no link leads to."""
    digest = hashlib.sha256()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    told = 0
    with os.fdopen(handle, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            told += len(block)
            if told >= TELL_BYTES:
                tell(told)
                told = 0
    tell(told)
    return digest.hexdigest()


class Server:
    """A release server's volume."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.public, self.metadata = root / "public", root / "metadata"
        self.incoming, self.publications = root / "incoming", root / "publications"
        self.held: int | None = None
        self.verified: dict[str, tuple[int, ...]] = {}
        """What was read and found right, and how it was known then."""

    def lock(self) -> Answer:
        """For as long as this process lives. Raises Refused when another has it."""
        for path in (self.incoming, self.publications):
            folder(path, self.root)
        handle = os.open(self.incoming / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise Refused("somebody publishes there now") from None
        self.held = handle
        return self.status()

    def begun(self) -> dict[str, Any] | None:
        """The manifest of what was begun and neither closed nor abandoned."""
        for one in sorted(self.incoming.glob("*/manifest.json")):
            found: dict[str, Any] = json.loads(one.read_bytes())
            return found
        return None

    def status(self) -> Answer:
        """What is there: the metadata's commit, what was begun, room in bytes, Unix time."""
        commit = self.metadata / COMMIT
        return {
            "commit": commit.read_text().strip() if commit.exists() else "",
            "begun": self.begun(),
            "published": sorted(one.stem for one in self.publications.glob("*.json")),
            "free": self._free(),
            "time": time.time(),
        }

    def _free(self) -> int:
        """Bytes."""
        room = os.statvfs(self.root)
        return room.f_bavail * room.f_frsize

    def plan(self, manifest: Mapping[str, Any]) -> Answer:
        """What is there of what is to be published, and whether there is room for the rest; changes nothing.

        `placed` is served already, `came` has so many bytes, `missing` are all others. Raises Refused when another was
        begun, a path is taken by another file, or there is no room.
        """
        before = self.begun()
        if before and before["id"] != manifest["id"]:
            raise Refused(
                f"{before['id']} of {before['who']}, begun {before['begun']}, was neither finished nor abandoned"
            )
        came, placed, missing, needed = {}, [], [], 0
        for file in manifest["files"]:
            path, size = file["path"], file["size"]
            there, here = below(self.public, path), below(self.files(manifest), path)
            if there.exists():
                if not there.is_file() or there.is_symlink() or there.stat().st_size != size:
                    raise Refused(f"{path} is there, and another one: what was published never changes")
                placed.append(path)
                continue
            if here.exists():
                came[path] = here.stat().st_size
            else:
                missing.append(path)
            needed += max(size - came.get(path, 0), 0)
        free = self._free()
        if needed + manifest["reserve"] > free:
            raise Refused(f"needs {needed:,} bytes, and {manifest['reserve']:,} to spare; there are {free:,}")
        return {"placed": placed, "came": came, "missing": missing}

    def begin(self, manifest: dict[str, Any]) -> Answer:
        """Lays down what is to be published, before anything of it comes; answers as `plan`, which raises the same."""
        told, before = self.plan(manifest), self.begun()
        texts = {file["path"]: file["text"] for file in manifest["files"] if "text" in file}
        self.files(manifest).mkdir(parents=True, exist_ok=True)
        for file in manifest["files"]:
            below(self.files(manifest), file["path"]).parent.mkdir(parents=True, exist_ok=True)
        if not before:  # else it is the same one, by whoever began it
            new = [*told["missing"], *told["came"]]
            write(self.mine(manifest["id"]) / "manifest.json", json.dumps(manifest | {"new": new}).encode())
            sync(self.incoming)
        for path in {*texts} - {*told["placed"]}:
            below(self.files(manifest), path).write_text(texts[path])
        return told | {"missing": [path for path in told["missing"] if path not in texts]}

    def mine(self, name: str) -> Path:
        return below(self.incoming, name)

    def files(self, manifest: Mapping[str, Any]) -> Path:
        return self.mine(manifest["id"]) / "files"

    def verify(self, tell: Tell) -> Answer:
        """Reads every file of what was begun; tells which are not what the manifest says, in words."""
        manifest = self._begun()
        wrong = {}
        for file in manifest["files"]:
            here = below(self.files(manifest), file["path"])
            path = here if os.path.lexists(here) else below(self.public, file["path"])
            try:
                before = known(path)
                if not stat.S_ISREG(path.lstat().st_mode):
                    wrong[file["path"]] = "is no file"
                elif (size := path.stat().st_size) != file["size"]:
                    wrong[file["path"]] = f"{size:,} bytes, not {file['size']:,}"
                elif (digest := sha256(path, tell)) != file["sha256"]:
                    wrong[file["path"]] = f"SHA-256 {digest}, not {file['sha256']}"
                else:
                    self.verified[file["path"]] = before
            except FileNotFoundError:
                wrong[file["path"]] = "did not come"
        return {"wrong": wrong}

    def place(self) -> Answer:
        """Puts what was verified where it is served: on the disk first, and none over what is there."""
        manifest = self._begun()
        folders: set[Path] = set()
        for file in manifest["files"]:
            path = file["path"]
            here, there = below(self.files(manifest), path), below(self.public, path)
            now = here if here.exists() else there
            if self.verified.get(path) != known(now):
                raise Refused(f"{path} is not what was verified")
            if now == there:
                continue
            handle = os.open(here, os.O_RDONLY | os.O_NOFOLLOW)
            os.fchmod(handle, 0o644)
            os.utime(handle, (file["time"], file["time"]))
            os.fsync(handle)
            os.close(handle)
            folder(there.parent, self.public)
            if not (there.exists() and there.samefile(here)):  # a run was killed between the two
                os.link(here, there)
            here.unlink()
            folders.add(there.parent)
            self.verified[path] = known(there)
        for one in folders:
            sync(one)
        return {"placed": len(manifest["files"])}

    def lacks(self, paths: Sequence[str]) -> Answer:
        """Which of these packages are not there."""
        return {"lacks": [path for path in paths if not below(self.public, path).is_file()]}

    def packages(self) -> Answer:
        """Every file that is served as a package or beside one: its size by its path."""
        sizes = {}
        for parent, folders, names in os.walk(self.public):
            folders[:] = [one for one in folders if not one.startswith(".")]
            for path in (Path(parent, name) for name in names if not name.startswith(".")):
                sizes[str(path.relative_to(self.public))] = path.lstat().st_size
        return {"sizes": sizes}

    def prune(self, paths: Sequence[str], needed: Sequence[str], commit: str) -> Answer:
        """Removes packages for good. needed: what metadata of this commit promises, which the server has to serve."""
        if self.begun():
            raise Refused("something is begun there: finish or abandon it first")
        if self.status()["commit"] != commit:
            raise Refused("does not serve the newest commit: what it promises may be older")
        if wanted := sorted({*paths} & {*needed}):
            raise Refused(f"{wanted[0]} is promised")
        gone = [path for path in paths if below(self.public, path).is_file()]
        for path in gone:
            below(self.public, path).unlink()
        for parent in {below(self.public, path).parent for path in gone}:
            sync(parent)
        return {"gone": gone}

    def switch(self, commit: str, files: Mapping[str, str], promised: Sequence[str]) -> Answer:
        """Serves another commit's metadata, all of it in one step. promised: packages without which nothing is
        switched; they were verified before they were moved in place."""
        for path in self.lacks(promised)["lacks"]:
            raise Refused(f"{path} is not there, and the metadata promises it")
        new = self.root / ".metadata.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o755)
        for path, text in files.items():
            target = below(new, path)
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            target.write_text(text)
        (new / COMMIT).write_text(f"{commit}\n")
        self.metadata.mkdir(mode=0o755, exist_ok=True)
        exchange(new, self.metadata)
        shutil.rmtree(new)
        return {"commit": commit}

    def close(self, done: dict[str, Any]) -> Answer:
        """Writes down what was published, and clears up."""
        manifest = self._begun()
        write(below(self.publications, f"{manifest['id']}.json"), json.dumps(manifest | done, indent=1).encode())
        return self._clear(manifest)

    def abandon(self, needed: Sequence[str]) -> Answer:
        """Takes back what was begun: files of it that are served already go, unless they were there before. needed:
        what metadata promises, which stays; where it is any of these, the publication has taken place."""
        manifest = self._begun()
        if published := sorted({*manifest["new"]} & {*needed}):
            raise Refused(f"{published[0]} is published: finish it, then roll it back")
        gone = []
        for path in manifest["new"]:
            there = below(self.public, path)
            if there.exists():
                there.unlink()
                gone.append(path)
        for parent in {below(self.public, path).parent for path in gone}:
            sync(parent)
        return self._clear(manifest) | {"gone": gone}

    def _clear(self, manifest: Mapping[str, Any]) -> Answer:
        mine = self.mine(manifest["id"])
        (mine / "manifest.json").unlink()
        sync(mine)
        shutil.rmtree(mine)
        return {"id": manifest["id"]}

    def _begun(self) -> dict[str, Any]:
        if found := self.begun():
            return found
        raise Refused("nothing was begun there")


def answer(server: Server, request: Mapping[str, Any], tell: Tell) -> Answer:
    """Carries out a request, `{"do": NAME, ...}`. Raises Refused and OSError."""
    if request["do"] == "status":
        return server.status()
    if request["do"] == "plan":
        return server.plan(request["manifest"])
    if request["do"] == "lacks":
        return server.lacks(request["paths"])
    if request["do"] == "packages":
        return server.packages()
    if request["do"] == "lock":
        return server.lock()
    if server.held is None:
        raise Refused("only who has the lock may do that")
    match request["do"]:
        case "begin":
            return server.begin(request["manifest"])
        case "verify":
            return server.verify(tell)
        case "place":
            return server.place()
        case "prune":
            return server.prune(request["paths"], request["needed"], request["commit"])
        case "switch":
            return server.switch(request["commit"], request["files"], request["promised"])
        case "close":
            return server.close(request["done"])
        case "abandon":
            return server.abandon(request["needed"])
    raise Refused(f"unknown request {request['do']!r}")


def requests() -> Iterator[Any]:
    while line := sys.stdin.buffer.readline(LINE_BYTES):
        yield json.loads(line)


def say(told: Answer) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    os.umask(0o022)
    server = Server(Path(arguments[0]))
    for request in requests():
        try:
            say({"ok": True} | answer(server, request, lambda count: say({"progress": count})))
        except (Refused, OSError) as error:
            say({"ok": False, "why": str(error)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
