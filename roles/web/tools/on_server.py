"""What publishing does on a web server: the standard library only, sent over ssh and run as the pages' owner.

    public                      a link to what is served, changed in one step: releases/ID/public. Its time is that of
                                the change, by which servers are told apart that were left out of the last one
    releases/ID/manifest.json   who published it, when, and each file with its size and SHA-256
    releases/ID/public/PATH     never changed once it is there; equal files of several releases are one, by hard links
    incoming/ID/                the same, on its way: moved to releases/ when all of it has been read and is right
    incoming/back               the release that a roll back leads to, while it is under way

ID begins with the time of the publication, so that names sort by it. What a publisher has left that died is gone on
with when the same comes again, and goes when something else comes.
"""

import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roles.common.publishing.on_server import (
    LIBC,
    Answer,
    Refused,
    Tell,
    below,
    exchange,
    hold,
    known,
    room,
    serve,
    sha256,
    sync,
    write,
)

MANIFEST = "manifest.json"
PUBLIC = "public"
HIDDEN = (".messages", ".well-known")
"""Names with a leading dot that are published (roles/web/archive.py)."""
RESERVE = 256 << 20
"""Bytes that stay free."""
MAINTENANCE = Path("/etc/nginx/maintenance.html")
"""What visitors get instead of the website, for as long as it is there."""


class Server:
    """A web server's volume."""

    def __init__(self, root: Path) -> None:
        self.root, self.public = root, root / PUBLIC
        self.releases, self.incoming = root / "releases", root / "incoming"
        self.back = self.incoming / "back"
        self.held: int | None = None
        self.verified: dict[str, dict[str, tuple[int, ...]]] = {}
        """By release: what was read and found right, and how each file was known then."""

    def lock(self) -> Answer:
        """For as long as this process lives. Raises Refused when another has it."""
        for path in (self.releases, self.incoming):
            path.mkdir(exist_ok=True)
        self.held = hold(self.incoming / ".lock")
        return self.status()

    def status(self) -> Answer:
        """What is there: all releases without their files, the one that is served and the time of the switch to it by
        who switched, what was begun, room in bytes; since when the server is in maintenance, 0 if it is not."""
        is_link = self.public.is_symlink()
        link = str(self.public.readlink()) if is_link else ""
        return {
            "served": link.split("/")[1] if link.startswith("releases/") else "",
            "since": int(self.public.lstat().st_mtime) if is_link else 0,
            "releases": [self._told(path) for path in self._manifests(self.releases)],
            "begun": [self._told(path) for path in self._manifests(self.incoming)],
            "back": self.back.read_text() if self.back.exists() else "",
            "free": room(self.root),
            "maintenance": int(MAINTENANCE.stat().st_mtime) if MAINTENANCE.exists() else 0,
        }

    def _manifests(self, folder: Path) -> list[Path]:
        return sorted(folder.glob(f"[!.]*/{MANIFEST}"))

    def _told(self, path: Path) -> dict[str, Any]:
        found = json.loads(path.read_bytes())
        size = sum(file["size"] for file in found["files"])
        return {key: value for key, value in found.items() if key != "files"} | {
            "count": len(found["files"]),
            "size": size,
        }

    def _place(self, name: str) -> Path:
        """Where a release lies, or is on its way."""
        placed = below(self.releases, name)
        return placed if placed.exists() else below(self.incoming, name)

    def manifest(self, name: str) -> dict[str, Any]:
        """Of a release that is there or was begun. Raises Refused."""
        path = self._place(name) / MANIFEST
        if not path.exists():
            raise Refused(f"{name} is not there")
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def begin(self, manifest: Mapping[str, Any]) -> Answer:
        """Lays down what is to be published; tells which files have to come, and how much of each is there.

        What is in a release already, whatever its path there, is taken from it once it has been read. Raises Refused
        when there is no room.
        """
        mine = below(self.incoming, manifest["id"])
        for path in self.incoming.iterdir():
            if path.is_dir() and path != mine:
                shutil.rmtree(path)
        self.back.unlink(missing_ok=True)
        if below(self.releases, manifest["id"]).exists():
            return {"come": {}}
        at_hand = {file["sha256"]: path for path, file in self._files()}
        come: dict[str, int] = {}
        needed = 0
        for file in manifest["files"]:
            here = below(mine / PUBLIC, file["path"], HIDDEN)
            here.parent.mkdir(parents=True, exist_ok=True)
            if not here.exists() and (like := at_hand.get(file["sha256"])) and _is(like, file):
                os.link(like, here)
            if here.exists() and here.stat().st_nlink > 1:
                continue  # nothing may be written into it: it is another release's too
            come[file["path"]] = here.stat().st_size if here.exists() else 0
            needed += max(file["size"] - come[file["path"]], 0)
        free = room(self.root)
        if needed + RESERVE > free:
            raise Refused(f"needs {needed:,} bytes, and {RESERVE:,} to spare; there are {free:,}")
        write(mine / MANIFEST, json.dumps(manifest).encode())
        return {"come": come}

    def _files(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Of all releases, those of the newest last."""
        for path in self._manifests(self.releases):
            for file in json.loads(path.read_bytes())["files"]:
                yield below(path.parent / PUBLIC, file["path"], HIDDEN), file

    def verify(self, name: str, tell: Tell) -> Answer:
        """Reads every file of a release; tells which are not what its manifest says, in words. Of what is on its way
        these go, so that they come again."""
        at, manifest = self._place(name), self.manifest(name)
        wrong, right = {}, {}
        for file in manifest["files"]:
            path = below(at / PUBLIC, file["path"], HIDDEN)
            why = _differs(path, file, tell)
            if not why:
                right[file["path"]] = self._dressed(path, manifest["time"])
                continue
            wrong[file["path"]] = why
            if at.parent == self.incoming and os.path.lexists(path):
                path.unlink()
        listed = {file["path"] for file in manifest["files"]}
        there = {str(path.relative_to(at / PUBLIC)) for path in (at / PUBLIC).rglob("*") if not path.is_dir()}
        wrong |= dict.fromkeys(sorted(there - listed), "is there, and not in the manifest")
        self.verified[name] = right
        return {"wrong": wrong}

    def _dressed(self, path: Path, time: int) -> tuple[int, ...]:
        """A file as it is served: for everybody to read, of the time of its publication if it came with it."""
        if path.stat().st_nlink == 1 and self.incoming in path.parents:
            path.chmod(0o644)
            os.utime(path, (time, time))
        return known(path)

    def place(self, name: str) -> Answer:
        """Moves what was verified to the releases, once it is on the disk. Raises Refused."""
        at, manifest = self._place(name), self.manifest(name)
        right = self.verified.get(name, {})
        for file in manifest["files"]:
            if right.get(file["path"]) != known(below(at / PUBLIC, file["path"], HIDDEN)):
                raise Refused(f"{file['path']} is not what was verified")
        if at.parent == self.incoming:
            handle = os.open(at, os.O_RDONLY)
            failed = LIBC.syncfs(handle)
            os.close(handle)
            if failed:
                raise Refused(f"{self.root}: what was written cannot be brought to the disk")
            at.rename(self.releases / name)
            sync(self.releases)
        return {}

    def switch(self, name: str, since: int) -> Answer:
        """Serves a release: one rename. A folder that stands where the link goes is kept among the releases."""
        if not below(self.releases, name).exists():
            raise Refused(f"{name} is not there")
        new = self.root / ".public.new"
        if new.is_dir() and not new.is_symlink():  # killed when it was the folder already
            self._keep(new, name)
        new.unlink(missing_ok=True)
        new.symlink_to(f"releases/{name}/{PUBLIC}")
        os.utime(new, (since, since), follow_symlinks=False)
        if self.public.is_dir() and not self.public.is_symlink():
            exchange(new, self.public)
            self._keep(new, name)
        else:
            new.replace(self.public)
        sync(self.root)
        return {}

    def _keep(self, folder: Path, name: str) -> None:
        """What was served before there were releases."""
        if any(folder.iterdir()):
            kept = self.releases / f"before-{name}"
            kept.mkdir(exist_ok=True)
            folder.rename(kept / PUBLIC)
        else:
            folder.rmdir()

    def go_back(self, name: str) -> Answer:
        """Writes down where a roll back leads, so that whoever runs it again goes there and no further."""
        write(self.back, name.encode())
        return {}

    def close(self, keep: int) -> Answer:
        """Clears up, and removes old releases: what is served, the one before it, and the newest stay."""
        status = self.status()
        named = {one["id"]: one for one in status["releases"]}
        needed = {status["served"], named.get(status["served"], {}).get("before")}
        gone = [name for name in sorted(named)[:-keep] if name not in needed]
        for name in gone:
            (self.releases / name).rename(self.incoming / name)
        for path in self.incoming.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        self.back.unlink(missing_ok=True)
        return {"gone": gone}


def _is(path: Path, file: Mapping[str, Any]) -> bool:
    """Whether a file is there, and is what a manifest says."""
    return not _differs(path, file, lambda _: None)


def _differs(path: Path, file: Mapping[str, Any], tell: Tell) -> str:
    """What of a file is not what a manifest says, in words."""
    try:
        seen = path.lstat()
        if not stat.S_ISREG(seen.st_mode):
            return "is no file"
        if seen.st_size != file["size"]:
            return f"{seen.st_size:,} bytes, not {file['size']:,}"
        digest = sha256(path, tell)
    except FileNotFoundError:
        return "did not come"
    return "" if digest == file["sha256"] else f"SHA-256 {digest}, not {file['sha256']}"


def answer(server: Server, request: Mapping[str, Any], tell: Tell) -> Answer:
    """Carries out a request, `{"do": NAME, ...}`. Raises Refused and OSError."""
    match request["do"]:
        case "status":
            return server.status()
        case "manifest":
            return {"manifest": server.manifest(request["id"])}
        case "lock":
            return server.lock()
    if server.held is None:
        raise Refused("only who has the lock may do that")
    match request["do"]:
        case "begin":
            return server.begin(request["manifest"])
        case "verify":
            return server.verify(request["id"], tell)
        case "place":
            return server.place(request["id"])
        case "switch":
            return server.switch(request["id"], request["since"])
        case "go back":
            return server.go_back(request["id"])
        case "close":
            return server.close(request["keep"])
    raise Refused(f"unknown request {request['do']!r}")


def main(arguments: Sequence[str]) -> int:
    server = Server(Path(arguments[0]))
    return serve(lambda request, tell: answer(server, request, tell))
