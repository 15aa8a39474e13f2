"""Whether packages are what was released: their bytes over the network, and their structure on the host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backup.drills.checks import CheckFailed, Evidence, File, NotJudged, Restored, share
from backup.drills.on_host import python, some
from backup.sizes import counted, size
from roles.release.archive import PUBLIC, SHA256SUM, artifacts, asked, channels, checksum, current, device_of, recorded

PARTS = 12
"""Of how many drills together an archive that is too large for one is restored."""
HASHED_AT_MOST = 20 << 30
"""Bytes of packages that a drill fetches, or somewhat more: a quarter of an hour from a small host."""
SALT = "fetched:"
"""Of the names that are shared out: the parts that are restored at a time are made by the same rule from the bare ones,
and all of a part would have its turn at once."""
LOOK_INTO_ZIPS = r"""
import json, os, struct, sys, zipfile
def look(path):
    with zipfile.ZipFile(path) as archive:
        if not archive.infolist():
            return "holds nothing"
        for member in archive.infolist():
            archive.fp.seek(member.header_offset)
            head = archive.fp.read(30)
            if head[:4] != b"PK\3\4" or len(head) < 30:
                return f"{member.filename} is not where the directory says"
            name, extra = struct.unpack("<HH", head[26:])
            if member.header_offset + 30 + name + extra + member.compress_size > archive.start_dir:
                return f"{member.filename} is cut short"
    return ""
count, bad = 0, []
os.chdir(sys.argv[1])
for folder, _, names in os.walk("."):
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith(".zip") and os.path.isfile(path) and not os.path.islink(path):
            count += 1
            try:
                why = look(path)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
            if why:
                bad.append(f"{path[2:]}: {why}")
print(json.dumps([count, sorted(bad)[:1000]]))
"""


@dataclass(frozen=True)
class Sample:
    """The packages that this drill fetches: their paths. within: after so many drills all have been."""

    chosen: tuple[str, ...]
    within: int


def sample(copy: Restored) -> Sample:
    """What current channels point to as far as it is affordable, and a share of the rest by turn."""
    offered = _offered(copy)
    pointed_to = _current(copy)
    first = [file for file in offered if file.path in pointed_to]
    rest = [file for file in offered if file.path not in pointed_to]
    is_whole = len(copy.wanted) >= len(copy.saved)
    total = sum(file.size for file in first)
    chosen, within = _share(first, copy.turn, HASHED_AT_MOST)
    # Of the rest a part is restored at a time: a file of it comes every PARTS turns.
    turn = copy.turn if is_whole else copy.turn // PARTS
    more, parts = _share(rest, turn, max(HASHED_AT_MOST - total, HASHED_AT_MOST // 4))
    return Sample(tuple(sorted([*chosen, *more])), max(within, parts if is_whole else parts * PARTS))


def packages(copy: Restored) -> Evidence:
    """SHA-256 as phones get them, against the list that is kept apart, and the one beside each file."""
    known, unheard = _recorded(copy)
    taken = sample(copy)
    sizes = {file.path: file.size for file in copy.wanted}
    wrong, unknown = [], []
    for path in taken.chosen:
        promised = {}
        if listed := known.get(path.rpartition("/")[2]):
            promised["the list of checksums"] = listed
        else:
            unknown.append(path)
        if f"{path}{SHA256SUM}" in sizes:
            try:
                promised["the checksum beside it"] = _beside(copy, path)
            except ValueError as error:
                wrong.append(f"{path}{SHA256SUM}: {error}")
        wrong += _compared(copy, path, sizes[path], promised)
    if wrong:
        raise CheckFailed(*wrong)
    if unheard:
        raise NotJudged(f"{unheard}; {_fetched(taken, sizes)}, as the checksum beside each says")
    told = [f"{_fetched(taken, sizes)}: {counted(len(taken.chosen) - len(unknown), 'one', 'ones')} as recorded"]
    if unknown:
        told.append(
            f"{counted(len(unknown), 'package')} without a recorded checksum, unknown, not wrong: {some(unknown)}"
        )
    every = [file for file in artifacts(copy.saved) if device_of(file.path) not in copy.settings.retired]
    return Evidence(tuple(told), len(taken.chosen), len(every), taken.within)


def zips(copy: Restored) -> Evidence:
    """Every zip that came back is whole: its directory is there, and each member where that says."""
    count, bad = python(copy, LOOK_INTO_ZIPS, f"{copy.root}/{PUBLIC}", timeout_s=1800)
    if bad:
        raise CheckFailed(*bad)
    every = sum(1 for file in copy.saved if file.type == "file" and file.path.endswith(".zip"))
    return Evidence((f"{counted(count, 'zip')} with directory and members",), count, every)


def _recorded(copy: Restored) -> tuple[Mapping[str, str], str]:
    """The list of checksums, and why there is none."""
    if not copy.settings.checksums:
        return {}, "settings.release.checksums names no list of checksums"
    try:
        return recorded(copy.mirror(copy.settings.checksums)), ""
    except NotJudged as error:
        return {}, str(error)


def _offered(copy: Restored) -> list[File]:
    return [file for file in artifacts(copy.wanted) if device_of(file.path) not in copy.settings.retired]


def _current(copy: Restored) -> frozenset[str]:
    """As the restored server says it: what that lies about is the matter of other checks."""
    served = {}
    for channel in channels(copy.wanted):
        if channel.device not in copy.settings.retired:
            served[channel.path] = copy.client.get(asked(channel.path)).body
    return current(copy.wanted, lambda path: served.get(path, b""))


def _share(files: Sequence[File], turn: int, room: int) -> tuple[list[str], int]:
    """Of these about as much as there is room for in bytes, and in how many turns all have come."""
    parts = max(1, -(-sum(file.size for file in files) // room))
    mine = share((f"{SALT}{file.path}" for file in files), turn, parts)
    return [path.removeprefix(SALT) for path in mine], parts


def _beside(copy: Restored, path: str) -> str:
    """Raises ValueError when it says nothing."""
    answer = copy.client.get(asked(f"{path}{SHA256SUM}"))
    if answer.status != 200:
        raise ValueError(f"answers {answer.status}")
    return checksum(answer.text)


def _compared(copy: Restored, path: str, saved: int, promised: dict[str, str]) -> list[str]:
    """What is wrong with a package as it is served."""
    try:
        got, digest = copy.client.sha256(asked(path))
    except CheckFailed as error:
        return [f"{path}: {error}"]
    wrong = [f"{path}: SHA-256 {digest}, by {who} {what}" for who, what in promised.items() if what != digest]
    return wrong + ([f"{path}: {got:,} bytes came, {saved:,} were saved"] if got != saved else [])


def _fetched(taken: Sample, sizes: dict[str, int]) -> str:
    return f"{counted(len(taken.chosen), 'package')}, {size(sum(sizes[path] for path in taken.chosen))}, fetched"
