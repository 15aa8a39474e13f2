"""What an audit does on a release server, as the archive's owner. Nothing there is changed. It needs the standard
library alone, and roles.common.turns, which comes with it.

Sent over ssh, it answers a line of JSON to each line of JSON, as on_server.py does. As `look ROOT` it does so for the
control host, with no more rights than anybody there, and reads no package. As `nightly ROOT STATE`, by a timer there,
it reads what is due of all packages, so that every byte is read within 30 days, and fails when one is not what was
published or what the checksum beside it says; an audit then takes over what it has read.
"""

import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roles.common.turns import due as turns

BLOCK = 256 << 10
TELL_BYTES = 64 << 20
LINE_BYTES = 1 << 20
TAIL = 66 << 10
"""At the end of a zip: its directory's end, and the longest comment."""
TEXT_AT_MOST, TEXTS_AT_MOST = 1 << 20, 8 << 20
"""Bytes of one small file that is told, and of all."""
FILES_AT_MOST = 100_000
FOLDERS = ("public", "metadata")
SHA256SUM = ".sha256sum"
STATE = Path("/var/lib/mainstay-release/read.json")
"""Where the timer keeps what it has read."""
SAVE_S = 60
LOOKS = ("survey", "tails")
REQUESTS = (*LOOKS, "digest")
TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO"}

Answer = dict[str, Any]
Tell = Callable[[int], None]


class Refused(Exception):
    """Why a request is not carried out."""


def opened(root: Path, path: str) -> int:
    """A regular file below the root, which is reached by no link and no way up. Raises OSError."""
    if ".." in path.split("/"):
        raise OSError(f"{path} leads elsewhere")
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in path.split("/")[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        handle = os.open(path.split("/")[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is no file")
    return handle


def walk(root: Path, path: str) -> Iterator[tuple[str, os.stat_result]]:
    """All below a folder, by its path from the root, following no link. A folder that cannot be read has none."""
    try:
        with os.scandir(root / path) as entries:
            here = sorted((one.name, one.stat(follow_symlinks=False)) for one in entries)
    except OSError:
        return
    for name, seen in here:
        yield f"{path}/{name}", seen
        if stat.S_ISDIR(seen.st_mode):
            yield from walk(root, f"{path}/{name}")


def survey(root: Path) -> Answer:
    """Each file and folder: type, size, mode, owner by number, time, and whether this program may read it; small texts
    in full, sizes on record, and room."""
    if not root.is_dir():
        raise Refused(f"{root} is not there")
    files: dict[str, list[Any]] = {}
    texts: dict[str, str] = {}
    told = 0
    for top in FOLDERS:
        for path, seen in walk(root, top):
            if len(files) >= FILES_AT_MOST:
                raise Refused(f"more than {FILES_AT_MOST:,} files")
            kind = TYPES.get(stat.S_IFMT(seen.st_mode), "a device or socket")
            files[path] = [kind, seen.st_size, seen.st_mode & 0o7777, seen.st_uid, seen.st_mtime_ns, seen.st_ino]
            is_text = kind == "file" and (top == "metadata" or path.endswith(SHA256SUM))
            if is_text and seen.st_size <= TEXT_AT_MOST and told < TEXTS_AT_MOST:
                texts[path] = read(root, path)
                told += len(texts[path])
    room = os.statvfs(root)
    return {
        "owner": root.stat().st_uid,
        "files": files,
        "texts": texts,
        "sizes": sizes(root),
        "readings": load(STATE)["readings"],
        "free": room.f_bavail * room.f_frsize,
        "size": room.f_blocks * room.f_frsize,
    }


def read(root: Path, path: str) -> str:
    """Text of a small file; a byte that is none becomes one of its own. Empty when it cannot be read."""
    try:
        with os.fdopen(opened(root, path), "rb") as file:
            return file.read(TEXT_AT_MOST).decode(errors="surrogateescape")
    except OSError:
        return ""


def sizes(root: Path) -> dict[str, int]:
    """Of all that was ever published there, by path, as the manifests have it."""
    found = {}
    for path in sorted((root / "publications").glob("*.json")):
        try:
            manifest = json.loads(path.read_bytes())
            found.update({str(one["path"]): int(one["size"]) for one in manifest["files"]})
        except (OSError, ValueError, KeyError, TypeError):
            continue  # what a manifest does not say is not on record
    return found


def tails(root: Path, paths: Sequence[str]) -> Answer:
    """The last bytes of files, as hexadecimal from the last place on where a zip's directory may end."""
    found = {}
    for path in paths:
        try:
            with os.fdopen(opened(root, path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - TAIL))
                tail = file.read(TAIL)
        except OSError:
            continue
        at = tail.find(b"PK\5\6")
        found[path] = [size, tail[at if at >= 0 else len(tail) :].hex()]
    return {"tails": found}


def digest(root: Path, path: str, tell: Tell) -> Answer:
    """SHA-256 of a file, and how it was known while it was read."""
    whole = hashlib.sha256()
    done = 0
    try:
        with os.fdopen(opened(root, path), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            block = memoryview(bytearray(BLOCK))
            while count := file.readinto(block):
                whole.update(block[:count])
                done += count
                if done >= TELL_BYTES:
                    tell(done)
                    done = 0
            seen = os.fstat(file.fileno())
    except OSError as error:
        return {"error": error.strerror or str(error)}
    tell(done)
    return {"sha256": whole.hexdigest(), "known": [seen.st_size, seen.st_mtime_ns, seen.st_ino]}


def artifacts(root: Path) -> dict[str, list[int]]:
    """What is released with a checksum: size, time and inode by path below `public`."""
    files = {path: seen for path, seen in walk(root, "public") if stat.S_ISREG(seen.st_mode)}
    return {
        path.removeprefix("public/"): [seen.st_size, seen.st_mtime_ns, seen.st_ino]
        for path, seen in files.items()
        if path.endswith(".zip") or f"{path}{SHA256SUM}" in files
    }


def look(before: Mapping[str, Answer], files: Mapping[str, Sequence[int]], now: float) -> dict[str, Answer]:
    """Readings of what is there: what was written anew since it was read was not read."""
    fresh = {path: {"known": [*known], "seen": now, "read": 0.0, "sha256": ""} for path, known in files.items()}
    return {
        path: before[path] if path in before and before[path]["known"] == one["known"] else one
        for path, one in fresh.items()
    }


def due(readings: Mapping[str, Answer], last: float, now: float) -> list[str]:
    """What to read now. last: when something was read before, 0: never."""
    return turns({path: (one["known"][0], one["seen"], one["read"]) for path, one in readings.items()}, last, now)


def load(path: Path) -> Answer:
    """What was read; nothing where there is no such file, or it is none: then all is read anew."""
    nothing: Answer = {"last": 0.0, "readings": {}}
    try:
        told = json.loads(path.read_text())
        for one in told["readings"].values():
            size, mtime, inode = one["known"]
            one["known"] = [int(size), int(mtime), int(inode)]
            one["seen"], one["read"], one["sha256"] = float(one["seen"]), float(one["read"]), str(one["sha256"])
        return {"last": float(told["last"]), "readings": told["readings"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return nothing


def save(path: Path, state: Answer) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def promised(root: Path, path: str) -> str:
    """SHA-256 by the checksum beside a file; empty where that says none."""
    text = read(root, f"public/{path}{SHA256SUM}").split()
    return text[0] if text and re.fullmatch("[0-9a-f]{64}", text[0]) else ""


def nightly(root: Path, path: Path) -> list[str]:
    """Reads what is due; returns what of all that was ever read is not as it should be, in words."""
    now = time.time()
    before = load(path)
    readings = look(before["readings"], artifacts(root), now)
    state = {"last": before["last"], "readings": readings}
    wrong, saved = [], time.monotonic()
    try:
        for one in due(readings, before["last"], now):
            told = digest(root, f"public/{one}", lambda _: None)
            if "error" in told:
                wrong.append(f"{one}: {told['error']}")
                continue
            readings[one] = {
                "known": told["known"],
                "seen": readings[one]["seen"],
                "read": now,
                "sha256": told["sha256"],
            }
            state["last"] = now
            if time.monotonic() - saved > SAVE_S:
                save(path, state)
                saved = time.monotonic()
    finally:
        save(path, state)
    for one, reading in readings.items():
        expected = promised(root, one) if reading["sha256"] else ""
        if expected and reading["sha256"] != expected:
            wrong.append(f"{one}: SHA-256 {reading['sha256']}, and {expected} by the checksum beside it")
    return wrong


def answer(root: Path, request: Mapping[str, Any], tell: Tell, may: Sequence[str] = REQUESTS) -> Answer:
    """Carries out a request, `{"do": NAME, ...}`, one of those that who asks may give. Raises Refused and OSError."""
    match request["do"] if request["do"] in may else "":
        case "survey":
            return survey(root)
        case "tails":
            return tails(root, request["paths"])
        case "digest":
            return digest(root, request["path"], tell)
    raise Refused(f"unknown request {request['do']!r}")


def say(told: Answer) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    if arguments[0] == "nightly":
        wrong = nightly(Path(arguments[1]), Path(arguments[2]))
        for one in wrong:
            print(one, file=sys.stderr)
        return 1 if wrong else 0
    may = LOOKS if arguments[0] == "look" else REQUESTS
    while line := sys.stdin.buffer.readline(LINE_BYTES):
        try:
            told = answer(Path(arguments[-1]), json.loads(line), lambda count: say({"progress": count}), may)
            say({"ok": True} | told)
        except (Refused, OSError) as error:
            say({"ok": False, "why": str(error)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
