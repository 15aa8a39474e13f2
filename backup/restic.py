"""restic by its command line: typed results, progress, and exit codes judged before any summary.

Stands by itself: the standard library of Python 3.11 on Linux, and restic 0.16 to 0.19.

    repository = Repository("rest:https://alice:secret@vault:8000/alice/", password="...", cache=Path("/var/cache/a"))
    restic = Restic(repository)
    done = restic.backup(Path("/srv/data"), host="alice", tags=["data"], progress=lambda p: print(f"{p.fraction:.0%}"))
    print(done.snapshot, done.unread)

Facts of restic relied on here: https://restic.readthedocs.io/en/stable/075_scripting.html, and what the versions
really answer: before 0.17 every failure exits 1; 0.18 exits 1 when interrupted and 0 when a removal was refused, which
it lists as done; summaries of failed runs can be wrong; standard error mixes JSON and text.
"""

import functools
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup.restic_command import apart
from backup.restic_compare import difference, line_of, literally, no_folders, pipes
from backup.restic_process import Hear, Message, Repository, ResticError, Run, failure, in_memory, in_memory_path, run
from backup.restic_results import (
    INCOMPLETE,
    Backup,
    Check,
    Difference,
    File,
    Hit,
    Progress,
    Snapshot,
    Unreadable,
    file_of,
    snapshot_of,
    unread,
)

NO_NAME = "\ufffd"
"""What `ls` writes for each byte of a name that is not UTF-8: restic does not find the path by that."""
AT_ONCE = 20_000
"""Ids in one call: Linux takes 2 MiB of arguments (execve(2))."""


def portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids as one call of restic after the other can be given them."""
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def version_of(program: str) -> tuple[int, int, int]:
    """The version of a restic, as (0, 18, 0)."""
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    major, minor, patch = (int(part) for part in said.split()[1].split("-")[0].split("."))
    return major, minor, patch


@dataclass(frozen=True)
class Restic:
    """restic on one repository.

    lock_wait_s: how long to wait for another run's lock. idle: called each second in which restic says nothing; what it
    raises breaks the run off.
    """

    repository: Repository
    program: str = "restic"
    lock_wait_s: int = 300
    idle: Callable[[], None] | None = None

    @functools.cached_property
    def version(self) -> tuple[int, int, int]:
        """The version of the program, as (0, 18, 0)."""
        return version_of(self.program)

    def init(self, chunks_like: Repository | None = None) -> None:
        """Makes the repository. chunks_like: the one it will be copied from or to, so that equal data stays equal."""
        self._run("init", *(["--copy-chunker-params"] if chunks_like else []), source=chunks_like)

    def backup(
        self,
        root: Path,
        paths: Sequence[str] = (".",),
        *,
        host: str,
        tags: Sequence[str],
        exclude: Sequence[str] = (),
        skip_unchanged: bool = False,
        totals: bool = True,
        progress: Callable[[Progress], None] | None = None,
    ) -> Backup:
        """Saves paths below root. Files that could not be read are in the result; the snapshot is there all the same.

        The snapshot's paths begin at root, whatever root is called: one of a moved or mounted tree is comparable.
        skip_unchanged needs restic 0.17. totals: progress tells how much there is, for which restic walks through all
        of it once more.
        """
        options = [
            *(f"--exclude={pattern}" for pattern in exclude),
            *(["--skip-if-unchanged"] if skip_unchanged else []),
            *([] if totals else ["--no-scan"]),
        ]
        return self._backup([*options, "--", *paths], host, tags, progress, root, paths)

    def backup_command(
        self,
        command: Sequence[str],
        filename: str,
        *,
        host: str,
        tags: Sequence[str],
        progress: Callable[[Progress], None] | None = None,
    ) -> Backup:
        """Saves what a command prints as one file; it gets nothing of what restic is given.

        No snapshot comes of a command that fails. Needs restic 0.17.
        """
        options = [f"--stdin-filename={filename}", "--stdin-from-command"]
        return self._backup([*options, "--", *apart(command)], host, tags, progress, Path("/"))

    def _backup(
        self,
        arguments: list[str],
        host: str,
        tags: Sequence[str],
        progress: Callable[[Progress], None] | None,
        root: Path,
        paths: Sequence[str] = (),
    ) -> Backup:
        words = ["--host", host, *(f"--tag={tag}" for tag in tags), "--group-by=host,tags", *arguments]
        hear, ends = _follow(progress), (0, INCOMPLETE)
        done = self._run("backup", *words, hear=hear, cwd=root, allowed=ends, with_children=not paths)
        summary = done.summary()
        if not summary:
            raise ResticError("backup", done.code, "ended without a summary: " + "\n".join(done.words))
        return Backup(
            snapshot=summary.get("snapshot_id", ""),
            files=summary["total_files_processed"],
            files_new=summary["files_new"],
            files_changed=summary["files_changed"],
            bytes=summary["total_bytes_processed"],
            bytes_added=_number(summary, "data_added_packed", "data_added"),
            unread=tuple(unread(done, root, paths)),
        )

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, oldest first. Raises Unreadable if any is damaged."""
        found, damaged = self.readable()
        if damaged:
            raise Unreadable(damaged)
        return found

    def readable(self) -> tuple[list[Snapshot], list[str]]:
        """The snapshots that can be read, oldest first, and the ids of damaged ones, which restic passes over.

        Without its cache, out of which restic would list a snapshot that is damaged in the repository.
        """
        done = self._read("snapshots", "--no-cache")
        found = sorted(map(snapshot_of, done.listed()), key=lambda snapshot: snapshot.time)
        return found, _passed_over(done)

    def files(self, snapshot: str) -> list[File]:
        """All that a snapshot holds, as it was when it was saved; paths without a slash at their beginning."""
        done = self._read("ls", snapshot)
        nodes = [message for message in done.messages if message.get("struct_type") == "node"]
        users, groups = self._names(snapshot, nodes)
        return [file_of(node | {"user": users[node["uid"]], "group": groups[node["gid"]]}) for node in nodes]

    def _names(self, snapshot: str, nodes: Sequence[Message]) -> tuple[dict[int, str], dict[int, str]]:
        """What users and groups are called, by number. `ls` tells numbers alone; a folder's own tree has the names."""
        users: dict[int, str] = {}
        groups: dict[int, str] = {}
        for node in nodes:
            if (node["uid"] in users and node["gid"] in groups) or NO_NAME in node["path"]:
                continue
            folder = node["path"].strip("/").rpartition("/")[0]
            for one in self._read("cat", "tree", f"{snapshot}:{folder}").messages[0]["nodes"]:
                users.setdefault(one["uid"], one.get("user", ""))
                groups.setdefault(one["gid"], one.get("group", ""))
        for node in nodes:
            users.setdefault(node["uid"], "")
            groups.setdefault(node["gid"], "")
        return users, groups

    def restore(
        self,
        snapshot: str,
        target: Path,
        *,
        include: Sequence[str] = (),
        exact: Sequence[str] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> Message:
        """Puts a snapshot, or a part of it, below target, holes as holes; returns restic's summary.

        include: patterns; exact: absolute paths in the snapshot without a line break, as many as one likes. Of what is
        in target already only what differs is fetched; what the snapshot lacks stays. Both need restic 0.17.
        """
        options = ["--sparse", "--target", str(target.resolve()), *(f"--include={pattern}" for pattern in include)]
        hear = _follow(progress)
        if not exact:
            return self._read("restore", snapshot, *options, hear=hear).summary()
        with in_memory("".join(f"{line_of(path)}\n" for path in exact)) as file:
            options.append(f"--include-file={in_memory_path(file)}")
            return self._read("restore", snapshot, *options, hear=hear, files=[file]).summary()

    def compare(self, snapshot: str, root: Path, exclude: Sequence[str] = ()) -> list[Difference]:
        """What below root is not as in the snapshot, by content: reads all of root, and no data from the repository.

        exclude: restic's patterns for paths in the snapshot. Of folders, links and special files only the missing ones
        are told, since restic lists all of them. What is a named pipe by now is passed over. Needs restic 0.17.
        """
        root = root.resolve()
        options = ["--dry-run", "-vv", "--overwrite=always", "--delete", "--target", str(root)]
        options += [f"--exclude={pattern}" for pattern in (*exclude, *map(literally, pipes(root)))]
        found: list[Difference] = []

        def note(message: Message) -> None:
            if one := difference(root, message):
                found.append(one)

        done = self._read("restore", snapshot, *options, hear={"verbose_status": note}, allowed=(0, 1))
        none = no_folders(root, done)
        if done.code and (not none or len(none) < len(done.errors)):
            raise failure(self.repository, "restore", done)
        return [*found, *none]

    def check(self, part: tuple[int, int] | None = None) -> Check:
        """Checks structure and indexes and, of t equal parts of all packs, reads the n-th: part=(n, t)."""
        options = ["--read-data-subset={}/{}".format(*part)] if part else []
        done = self._read("check", *options, allowed=(0, 1))
        if done.code and not any("repository contains errors" in line for line in done.words):
            raise failure(self.repository, "check", done)
        errors = [message.get("message", "").strip() for message in done.errors] + done.words
        if not done.code:
            return Check((), ())
        packs = re.findall(r"(?:\bpack |\bwant )([0-9a-f]{64})", "\n".join(errors))
        return Check(tuple(filter(None, errors)), tuple(dict.fromkeys(packs)))

    def hits(self, packs: Iterable[str]) -> list[Hit]:
        """The files and folders of all snapshots that need any of these packs, by the index.

        `restic find --pack` would read the packs themselves, and fails on one that was cut off.
        """
        wanted = set(packs)
        blobs: dict[str, list[str]] = {"data": [], "tree": []}
        for index in self._read("list", "index").plain:
            for pack in self._read("cat", "index", index).messages[0]["packs"]:
                if pack["id"] in wanted:
                    for blob in pack["blobs"]:
                        blobs[blob["type"]].append(blob["id"])
        found: list[Message] = []
        for option, ids in (("--blob", blobs["data"]), ("--tree", blobs["tree"])):
            for some in portions(ids):
                found += self._read("find", option, *some).listed()
        return [Hit(hit["snapshot"], hit["path"]) for hit in found]

    def size(self) -> int:
        """Bytes that the data of all snapshots takes in the repository."""
        return int(self._read("stats", "--mode=raw-data").messages[0]["total_size"])

    def forget(self, ids: Sequence[str]) -> None:
        """Removes snapshots, and looks whether they are gone: a refusal may come with exit code 0."""
        for some in portions(ids):
            self._run("forget", *some)
        left = {snapshot.id for snapshot in self.snapshots()} & set(ids)
        if left:
            raise ResticError("forget", 0, f"not removed, though said to be: {', '.join(sorted(left))}")

    def prune(self) -> None:
        """Removes data that no snapshot needs."""
        self._run("prune")

    def unlock(self) -> None:
        """Removes locks whose owner is gone, never others."""
        self._run("unlock")

    def copy(self, source: Repository, ids: Sequence[str]) -> None:
        """Copies snapshots, by their whole ids, from another repository; those already here are left out.

        Only this repository is locked, not its source, which may be full. A prune there meanwhile takes away what is
        read: the copy fails, and is to be made again. Raises ResticError also for a snapshot that is gone or damaged,
        which restic passes over with exit code 0.
        """
        done = self._run("copy", "--no-lock", *ids, source=source)
        if lacking := set(_passed_over(done)) & set(ids):
            raise ResticError("copy", done.code, f"gone from where they were, or damaged: {', '.join(sorted(lacking))}")

    def keys(self) -> dict[str, bool]:
        """Ids of the keys, each with whether it is the one in use."""
        return {key["id"]: key["current"] for key in self._read("key", "list").listed()}

    def add_key(self, password: str) -> None:
        """Lets a second password open the repository."""
        with in_memory(password) as file:
            self._run("key", "add", "--new-password-file", in_memory_path(file), files=[file])

    def remove_key(self, key: str) -> None:
        """Takes a password away, by its key's id."""
        self._run("key", "remove", key)

    def _read(self, command: str, *arguments: str, **how: Any) -> Run:
        """For what changes nothing: no lock is written, as a full or read-only repository takes none, and nobody else
        is kept waiting."""
        return run(self.program, self.repository, command, "--no-lock", *arguments, idle=self.idle, **how)

    def _run(self, command: str, *arguments: str, **how: Any) -> Run:
        waiting = f"--retry-lock={self.lock_wait_s}s"
        return run(self.program, self.repository, command, waiting, *arguments, idle=self.idle, **how)


def _passed_over(done: Run) -> list[str]:
    """The ids of snapshots that restic could not read, and went on."""
    return re.findall(r'^Ignoring "([0-9a-f]{64})"', "\n".join(done.words), re.MULTILINE)


def _follow(progress: Callable[[Progress], None] | None) -> Hear:
    if progress is None:
        return {}

    def tell(message: Message) -> None:
        progress(
            Progress(
                fraction=min(message.get("percent_done", 0.0), 1.0),
                files=_number(message, "files_done", "files_restored"),
                files_total=message.get("total_files", 0),
                bytes=_number(message, "bytes_done", "bytes_restored"),
                bytes_total=message.get("total_bytes", 0),
                seconds_left=message.get("seconds_remaining"),
            )
        )

    return {"status": tell}


def _number(message: Message, *names: str) -> int:
    """The first of these that the message has; restic leaves out what is nought."""
    return int(next((message[name] for name in names if name in message), 0))
