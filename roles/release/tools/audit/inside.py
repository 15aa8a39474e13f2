"""What lies on a server's disk, against what ought to: a survey of on_disk.py in, findings out. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from roles.release.archive import BASE, FACTORY, SHA256SUM
from roles.release.tools.audit.findings import Finding, Kind, finding
from roles.release.tools.audit.outside import content_finding, ends, sum_findings
from roles.release.tools.audit.truth import Need, Truth, about
from roles.release.tools.layout import Named, named
from roles.release.tools.problems import Damaged
from roles.release.tools.publication import RESERVE
from roles.release.tools.retention import superseded

PUBLIC, METADATA = "public/", "metadata/"
COMMIT = "metadata/.commit"
OTHERS = ("device-flasher/", "ro/")
"""Of the archive what is no device's."""


@dataclass(frozen=True)
class File:
    """type: as on_disk.py calls it; mode: without the type; mtime: in nanoseconds."""

    type: str
    size: int
    mode: int
    owner: int
    mtime: int
    inode: int


@dataclass(frozen=True)
class Disk:
    """A server's volume. files, texts: by path below its root; sizes: on record by path as it is asked for; free, size:
    in bytes."""

    owner: int
    files: Mapping[str, File]
    texts: Mapping[str, str]
    sizes: Mapping[str, int]
    free: int
    size: int

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Disk":
        """Raises ValueError, KeyError and TypeError for what on_disk.py would not say."""
        files = {
            path: File(str(kind), int(size), int(mode), int(owner), int(mtime), int(inode))
            for path, (kind, size, mode, owner, mtime, inode) in told["files"].items()
        }
        texts = {path: str(text) for path, text in told["texts"].items()}
        sizes = {path: int(size) for path, size in told["sizes"].items()}
        return cls(int(told["owner"]), files, texts, sizes, int(told["free"]), int(told["size"]))

    @property
    def commit(self) -> str:
        """Of metadata."""
        return self.texts.get(COMMIT, "").strip()

    def packages(self, retired: frozenset[str]) -> dict[str, Named]:
        """By path as they are asked for."""
        found = {}
        for path, file in self.files.items():
            if file.type == "file" and path.startswith(PUBLIC) and path.endswith(".zip"):
                try:
                    one = named(path.removeprefix(PUBLIC))
                except Damaged:
                    continue
                if one.device not in retired:
                    found[one.path] = one
        return found

    def served(self, truth: Truth) -> dict[tuple[str, str], bytes]:
        """Its own channel lines."""
        texts = {key: self.texts.get(f"{METADATA}{path}") for key, path in truth.lines.items()}
        return {key: raw(text) for key, text in texts.items() if text is not None}

    def artifacts(self) -> dict[str, File]:
        """Whatever is released with a checksum, by path as it is asked for."""
        return {
            path.removeprefix(PUBLIC): file
            for path, file in self.files.items()
            if path.startswith(PUBLIC)
            and file.type == "file"
            and (path.endswith(".zip") or f"{path}{SHA256SUM}" in self.files)
        }


def findings(
    server: str,
    disk: Disk,
    truth: Truth,
    needs: Mapping[str, Need],
    tails: Mapping[str, tuple[int, bytes]],
    sizes: Mapping[str, int],
) -> Iterator[Finding]:
    """All but what takes reading packages. tails: sizes and last bytes of packages that are needed; sizes: in bytes, as
    they are known."""
    yield from _modes(server, disk)
    yield from _metadata(server, disk, truth)
    yield from _needed(server, disk, needs, tails, sizes)
    yield from _checksums(server, disk, truth, needs)
    yield from _rest(server, disk, truth, needs)
    yield from _room(server, disk, needs)


def _modes(server: str, disk: Disk) -> Iterator[Finding]:
    for path, file in disk.files.items():
        wanted = 0o555 if file.type == "folder" else 0o444
        asked = path.partition("/")[2] or path
        whose = about(asked, {})
        if file.type not in ("file", "folder"):
            yield finding(server, asked, Kind.OWNER, file.type, "a file", whose)
        elif file.owner != disk.owner:
            expected = f"user {disk.owner}, who owns the archive"
            yield finding(server, asked, Kind.OWNER, f"user {file.owner}", expected, whose)
        elif file.mode & wanted != wanted or file.mode & 0o7022:
            expected = "0755" if file.type == "folder" else "0644"
            yield finding(server, asked, Kind.OWNER, f"mode {file.mode:04o}", expected, whose)


def _metadata(server: str, disk: Disk, truth: Truth) -> Iterator[Finding]:
    """The checkout, against the commit that it ought to be of."""
    here = f"the commit it serves is {disk.commit[:10] or 'unknown'}"
    for key, path in (*truth.lines.items(), *truth.changelogs.items()):
        text, file = disk.texts.get(f"{METADATA}{path}"), disk.files.get(f"{METADATA}{path}")
        expected = truth.files[path]
        if file is None:
            yield finding(server, path, Kind.MISSING, f"nothing; {here}", f"it, as in commit {truth.commit[:10]}", key)
        elif raw(text or "") != expected and (text is not None or file.size != len(expected)):
            why = f"as in commit {truth.commit[:10]}; {here}"
            yield content_finding(server, path, raw(text or ""), expected, key, why)
    if not disk.commit:
        yield finding(server, ".commit", Kind.DIFFERING, "no commit", "the one that metadata is of", ("", ""))
    for path, file in disk.files.items():
        asked = path.removeprefix(METADATA)
        device = about(asked, {})[0]
        is_ours = path.startswith(METADATA) and file.type == "file" and path != COMMIT
        if is_ours and asked not in truth.files and device not in truth.retired:
            yield finding(server, asked, Kind.DIFFERING, "a file", "none: no such file in the commit", (device, ""))


def _needed(
    server: str,
    disk: Disk,
    needs: Mapping[str, Need],
    tails: Mapping[str, tuple[int, bytes]],
    sizes: Mapping[str, int],
) -> Iterator[Finding]:
    for path, need in needs.items():
        file = disk.files.get(f"{PUBLIC}{path}")
        if file is None:
            if not need.is_optional:
                kind = Kind.AHEAD if need.is_promised else Kind.MISSING
                yield finding(server, path, kind, "nothing on the disk", "a package", need.about)
            continue
        if file.type != "file":
            continue
        known = sizes.get(path)
        if known is not None and file.size != known:
            kind = Kind.TRUNCATED if file.size < known else Kind.DIFFERING
            yield finding(server, path, kind, f"{file.size:,} bytes", f"{known:,}", need.about)
        elif path in tails and not ends(tails[path][1], tails[path][0]):
            found = f"{file.size:,} bytes that do not end as a zip does"
            yield finding(server, path, Kind.TRUNCATED, found, "a whole zip", need.about)


def _checksums(server: str, disk: Disk, truth: Truth, needs: Mapping[str, Need]) -> Iterator[Finding]:
    for path in disk.artifacts():
        whose = about(path, needs)
        if whose[0] in truth.retired:
            continue
        beside = f"{PUBLIC}{path}{SHA256SUM}"
        if beside not in disk.files:
            yield finding(
                server, f"{path}{SHA256SUM}", Kind.MISSING, "nothing", "a checksum beside each package", whose
            )
        elif beside in disk.texts:
            yield from sum_findings(server, f"{path}{SHA256SUM}", raw(disk.texts[beside]), truth.sums, whose)
        name = path.rpartition("/")[2]
        if truth.recorded and name not in truth.recorded:
            yield finding(server, path, Kind.UNLISTED, "no checksum on record", "one, sooner or later", whose)


def _rest(server: str, disk: Disk, truth: Truth, needs: Mapping[str, Need]) -> Iterator[Finding]:
    """What lies there and is not needed, or to no use."""
    packages = disk.packages(truth.retired)
    useless = to_no_use(disk, packages, truth)
    released = _released(truth, packages)
    for path, one in packages.items():
        if one.kind == "incremental" and (why := _unusable(one, truth, released)):
            yield finding(server, path, Kind.UNUSABLE, why[0], why[1], about(path, needs))
        elif path in useless and path not in needs and not _is_of_use(one, truth):
            yield finding(
                server, path, Kind.ORPHANED, f"build {one.build}", "a build that is offered or kept", (one.device, "")
            )
    for path, file in disk.files.items():
        asked = path.removeprefix(PUBLIC)
        device = about(asked, {})[0]
        if not path.startswith(PUBLIC) or file.type != "file" or asked.startswith(OTHERS) or device in truth.retired:
            continue
        if asked.removesuffix(SHA256SUM) in {*packages, *needs}:
            continue
        whole = asked.endswith(SHA256SUM) and asked.removesuffix(SHA256SUM).endswith(".zip")
        found = "a checksum alone" if whole else "a file that is no part of an archive"
        yield finding(server, asked, Kind.ORPHANED, found, "packages, each with its checksum", (device, ""))


def to_no_use(disk: Disk, packages: Mapping[str, Named], truth: Truth) -> frozenset[str]:
    """What `prune` removes, and what was never offered, but for the newest, which may be about to be."""
    goes = {*superseded(packages, truth.offers, truth.over, truth.time, truth.kept)}
    newest = _newest(disk, packages, truth.kept.builds)
    known = {*truth.over, *((device, offer.build) for (device, _), offer in truth.offers.items())}
    return frozenset(
        path
        for path, one in packages.items()
        if path in goes or ((one.device, one.build) not in known and path not in newest)
    )


def _newest(disk: Disk, packages: Mapping[str, Named], count: int) -> frozenset[str]:
    """Packages of so many builds of each device and kind, by time."""
    builds: dict[tuple[str, str], dict[str, int]] = {}
    for path, one in packages.items():
        mine = builds.setdefault((one.device, one.kind), {})
        mine[one.build] = max(mine.get(one.build, 0), disk.files[f"{PUBLIC}{path}"].mtime)
    newest = {
        key: frozenset(sorted(mine, key=lambda build: (mine[build], build))[-count:]) for key, mine in builds.items()
    }
    return frozenset(path for path, one in packages.items() if one.build in newest[one.device, one.kind])


def _is_of_use(one: Named, truth: Truth) -> bool:
    """An incremental to a build that phones are offered, whether or not it is on record."""
    return one.kind == "incremental" and bool(_offered(one, truth))


def _offered(one: Named, truth: Truth) -> list[str]:
    """Android versions below which phones look for that build."""
    return [
        offer.android
        for (device, channel), offer in truth.offers.items()
        if device == one.device and offer.build == one.build and channel not in (FACTORY, BASE)
    ]


def _released(truth: Truth, packages: Mapping[str, Named]) -> frozenset[tuple[str, str]]:
    """Device and build of all that a phone may have: on record, here, or named by a channel."""
    found = {(one.device, one.build) for one in packages.values() if one.kind != "incremental"}
    found |= {(device, offer.build) for (device, _), offer in truth.offers.items()}
    for name in truth.recorded:
        device, _, rest = name.partition("-")
        kind, _, build = rest.partition("-")
        if kind in ("ota_update", "factory"):
            found.add((device, build.removesuffix(".zip")))
    return frozenset(found)


def _unusable(one: Named, truth: Truth, released: frozenset[tuple[str, str]]) -> tuple[str, str] | None:
    """Why no phone takes that incremental, and what it should be."""
    offered = _offered(one, truth)
    if offered and one.android not in offered:
        return f"it in the folder of Android {one.android}", f"it below {offered[0]}, where phones look for it"
    if truth.recorded and (one.device, one.base) not in released:
        return f"base {one.base}, which was never released", "one that phones have"
    stamps = {offer.build: offer.timestamp for (device, _), offer in truth.offers.items() if device == one.device}
    if one.base in stamps and one.build in stamps and stamps[one.base] >= stamps[one.build]:
        return f"base {one.base}, which is not older", f"one before {stamps[one.build]}"
    return None


def _room(server: str, disk: Disk, needs: Mapping[str, Need]) -> Iterator[Finding]:
    """Whether another release of the size of this one has its place."""
    files = [disk.files.get(f"{PUBLIC}{path}") for path, need in needs.items() if not need.is_optional]
    wanted = RESERVE + sum(file.size for file in files if file)
    if disk.free < wanted:
        expected = f"{wanted:,}: as much as is offered now, and a reserve"
        yield finding(server, "", Kind.ROOM, f"{disk.free:,} bytes free", expected, ("", ""))


def raw(text: str) -> bytes:
    """As it lies on the disk."""
    return text.encode(errors="surrogateescape")
