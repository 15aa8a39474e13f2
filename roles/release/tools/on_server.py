"""What publishing does on a release server: the standard library only, sent over ssh and run as the archive's owner.

What a publisher had begun that died is on disk until it is closed or abandoned, and any run goes on with it from where
it is:

    incoming/ID/manifest.json  what is published; nobody else may begin until it is closed or abandoned
    incoming/ID/files/PATH     what was uploaded, not served
    incoming/synced/files/PATH what came from another server, not served
    public/PATH                packages and their checksums; never changed, never replaced
    metadata/                  a commit of the metadata repository, named in metadata/.commit; exchanged as a whole
    publications/ID.json       the manifests of all that was published
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roles.common.publishing.on_server import (
    Answer,
    Refused,
    Tell,
    below,
    exchange,
    room,
    serve,
    sync,
    write,
)
from roles.release.tools.volume import COMMIT, Volume

SYNCED = "synced"
"""Below incoming/: what comes from other servers."""


class Server(Volume):
    """What a publisher, who has the lock, does there."""

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
        free = room(self.root)
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

    def verify(self, tell: Tell) -> Answer:
        """Reads every file of what was begun; tells which are not what the manifest says, in words. What came and is
        wrong goes."""
        manifest = self._begun()
        wrong = self._wrong(manifest, tell)
        for path in wrong:
            below(self.files(manifest), path).unlink(missing_ok=True)
        return {"wrong": wrong}

    def place(self) -> Answer:
        """Puts what was verified where it is served."""
        manifest = self._begun()
        self._put(manifest)
        return {"placed": len(manifest["files"])}

    def take(self, files: Sequence[Mapping[str, Any]], tell: Tell) -> Answer:
        """Puts what came from another server where it is served, all of it or, where something is not as it was there,
        nothing: that goes. Answers as `verify`."""
        manifest = {"id": SYNCED, "files": files}
        for file in files:
            here = below(self.files(manifest), file["path"])
            here.parent.mkdir(parents=True, exist_ok=True)
            if "text" in file:
                here.write_text(file["text"])
        wrong = self._wrong(manifest, tell)
        if not wrong:
            self._put(manifest)
        shutil.rmtree(self.mine(SYNCED))
        return {"wrong": wrong}

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
        self.keep(manifest | done)
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
    match request["do"]:
        case "status":
            return server.status()
        case "plan":
            return server.plan(request["manifest"])
        case "lacks":
            return server.lacks(request["paths"])
        case "packages":
            return server.packages()
        case "read":
            return server.read(request["path"], tell)
        case "manifest":
            return server.manifest(request["name"])
        case "lock":
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
        case "take":
            return server.take(request["files"], tell)
        case "keep":
            return server.keep(request["manifest"])
        case "prune":
            return server.prune(request["paths"], request["needed"], request["commit"])
        case "switch":
            return server.switch(request["commit"], request["files"], request["promised"])
        case "close":
            return server.close(request["done"])
        case "abandon":
            return server.abandon(request["needed"])
    raise Refused(f"unknown request {request['do']!r}")


def main(arguments: Sequence[str]) -> int:
    server = Server(Path(arguments[0]))
    return serve(lambda request, tell: answer(server, request, tell))
