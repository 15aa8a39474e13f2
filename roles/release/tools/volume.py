"""A release server's volume, on the server: the standard library only, sent over ssh before on_server.py."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roles.common.publishing.on_server import (
    Answer,
    Refused,
    Tell,
    below,
    folder,
    hold,
    known,
    room,
    sha256,
    sync,
    write,
)

COMMIT = ".commit"
SHA256SUM = ".sha256sum"


def digest(files: Mapping[str, bytes]) -> str:
    """Of content by path: SHA-256 over all of it, by which a server and a publisher know that they have the same."""
    told = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in sorted(files.items()))
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()


class Volume:
    """Below its root."""

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
        self.held = hold(self.incoming / ".lock")
        return self.status()

    def begun(self) -> dict[str, Any] | None:
        """The manifest of what was begun and neither closed nor abandoned."""
        for one in sorted(self.incoming.glob("*/manifest.json")):
            found: dict[str, Any] = json.loads(one.read_bytes())
            return found
        return None

    def commit(self) -> str:
        """Whose metadata is served; empty where that is not known."""
        commit = self.metadata / COMMIT
        return commit.read_text().strip() if commit.exists() else ""

    def status(self) -> Answer:
        """What is there: the metadata's commit and the digest of its files as they are, what was begun, room in bytes,
        Unix time."""
        return {
            "commit": self.commit(),
            "metadata": digest(self._served()),
            "begun": self.begun(),
            "published": sorted(one.stem for one in self.publications.glob("*.json")),
            "free": room(self.root),
            "time": time.time(),
        }

    def _served(self) -> dict[str, bytes]:
        """Of what is no regular file, where it leads to."""
        return {
            str(path.relative_to(self.metadata)): str(path.readlink()).encode()
            if path.is_symlink()
            else path.read_bytes()
            for path in self.metadata.rglob("*")
            if path.is_symlink() or (path.is_file() and path != self.metadata / COMMIT)
        }

    def mine(self, name: str) -> Path:
        return below(self.incoming, name)

    def files(self, manifest: Mapping[str, Any]) -> Path:
        return self.mine(manifest["id"]) / "files"

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

    def read(self, path: str, tell: Tell) -> Answer:
        """What another server needs to know of a package: size, time, hash, and the checksum beside it."""
        one, beside = below(self.public, path), below(self.public, f"{path}{SHA256SUM}")
        seen = one.lstat()
        told = {"size": seen.st_size, "time": int(seen.st_mtime), "sha256": sha256(one, tell), "sum": ""}
        if beside.is_file() and not beside.is_symlink():
            told |= {"sum": beside.read_text(errors="replace"), "sum_time": int(beside.stat().st_mtime)}
        return told

    def manifest(self, name: str) -> Answer:
        """Of what was published."""
        return {"manifest": json.loads(below(self.publications, f"{name}.json").read_bytes())}

    def keep(self, manifest: Mapping[str, Any]) -> Answer:
        """Writes down what was published."""
        write(below(self.publications, f"{manifest['id']}.json"), json.dumps(manifest, indent=1).encode())
        return {"id": manifest["id"]}

    def prune(self, paths: Sequence[str], needed: Sequence[str], commit: str) -> Answer:
        """Removes packages for good. needed: what metadata of this commit promises, which the server has to serve."""
        if self.begun():
            raise Refused("something is begun there: finish or abandon it first")
        if self.commit() != commit:
            raise Refused("does not serve the newest commit: what it promises may be older")
        if wanted := sorted({*paths} & {*needed}):
            raise Refused(f"{wanted[0]} is promised")
        gone = [path for path in paths if below(self.public, path).is_file()]
        for path in gone:
            below(self.public, path).unlink()
        for parent in {below(self.public, path).parent for path in gone}:
            sync(parent)
        return {"gone": gone}

    def _wrong(self, manifest: Mapping[str, Any], tell: Tell) -> dict[str, str]:
        """Reads every file of a manifest, where it came or where it is served; tells which are not as it says, in
        words."""
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
        return wrong

    def _put(self, manifest: Mapping[str, Any]) -> None:
        """Puts what was verified where it is served: on the disk first, and none over what is there."""
        folders: set[Path] = set()
        for file in manifest["files"]:
            path = file["path"]
            here, there = below(self.files(manifest), path), below(self.public, path)
            now = here if here.exists() else there
            if path not in self.verified or self.verified[path] != known(now):
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
