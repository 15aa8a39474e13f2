"""What faults do to a restored copy: each plants one kind of damage, and says what it did."""

from backup.drills.checks import CheckFailed, File, Restored
from backup.drills.on_host import python, some

FLIP = """
import json, os, sys
path = sys.argv[1]
before = os.stat(path)
at = before.st_size // 4
with open(path, "r+b") as file:
    file.seek(at)
    old = file.read(1)
    file.seek(at)
    file.write(bytes([old[0] ^ 1]))
os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
print(json.dumps(at))
"""
REWRITE = """
import json, os, sys
path, text, seconds = sys.argv[1:]
before = os.stat(path)
with open(path, "r+") as file:
    file.truncate(0)
    file.write(text)
later = int(seconds) * 10**9
os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later))
print(json.dumps(before.st_size))
"""
SET_BACK = """
import json, os, sys
count = 0
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(folder, name)
        if os.path.islink(path):
            continue
        before = os.stat(path)
        if name.endswith(".html"):
            with open(path, "a") as file:
                file.write("<!-- as it was a week ago -->\\n")
        elif name.endswith(".jsonl"):
            with open(path, "rb") as file:
                lines = file.read().splitlines(keepends=True)
            with open(path, "r+b") as file:
                file.truncate(sum(map(len, lines[:-1])))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 7 * 86400 * 10**9))
        count += 1
print(json.dumps(count))
"""


def remove(copy: Restored, path: str) -> str:
    """A missing file, or folder with all that is in it."""
    copy.sh('rm -r -- "$1"', f"{copy.root}/{path}")
    return f"removed {some([path])}"


def empty(copy: Restored, folder: str) -> str:
    """A folder that is there, with nothing in it."""
    copy.sh('find "$1" -mindepth 1 -delete', f"{copy.root}/{folder}")
    return f"emptied {some([folder])}"


def truncate(copy: Restored, path: str) -> str:
    """A file that lost its last third, with the time it had."""
    script = 'set -eu; t=$(stat -c @%.9Y "$1"); truncate -s "$2" "$1"; touch -d "$t" "$1"'
    kept = of(copy, path).size * 2 // 3
    copy.sh(script, f"{copy.root}/{path}", str(kept))
    return f"cut {some([path])} to {kept} bytes"


def flip(copy: Restored, path: str) -> str:
    """One bit in a file, with the size and time it had."""
    return f"flipped a bit of {some([path])} at byte {python(copy, FLIP, f'{copy.root}/{path}')}"


def rewrite(copy: Restored, path: str, text: str, later_s: int = 0) -> str:
    """Another content, with the time it had, or so many seconds later."""
    python(copy, REWRITE, f"{copy.root}/{path}", text, str(later_s))
    return f"wrote {text.strip()!r} into {some([path])}"


def give_away(copy: Restored, path: str) -> str:
    """Another owner."""
    copy.sh('chown -h nobody:nogroup "$1"', f"{copy.root}/{path}")
    return f"gave {some([path])} to nobody"


def set_back(copy: Restored, folder: str) -> str:
    """Content of the same names as it was a week before: pages differ, ledgers lack their last line."""
    count = python(copy, SET_BACK, f"{copy.root}/{folder}")
    return f"set {count} files below {folder} back by a week"


def of(copy: Restored, path: str) -> File:
    """What the snapshot lists at a path."""
    return first([file for file in copy.wanted if file.path == path], path)


def first(found: "list[File]", what: str) -> File:
    """The one to damage. Raises CheckFailed when this snapshot has none."""
    if not found:
        raise CheckFailed(f"this fault needs {what}, and the snapshot has none")
    return found[0]
