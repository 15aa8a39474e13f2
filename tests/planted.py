"""Damage of each kind that is planted on release servers or in their repositories, and what has to be found of it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.release_archive import CURRENT, NEXT, OLD, STAMPS
from roles.release.tools.audit.findings import Kind

ONE, OTHER = "release-1", "release-2"
BOTH = (ONE, OTHER)
WORLD, LIST = "metadata repository", "list of checksums"
Told = set[tuple[str, Kind, str]]
"""Server, kind, path."""


def full(device: str, build: str = CURRENT) -> str:
    return f"ota/{device}/16/{device}-ota_update-{build}.zip"


def incremental(device: str, base: str = OLD, android: str = "16") -> str:
    return f"ota/{device}/{android}/{device}-incremental-{base}-{CURRENT}.zip"


def factory(device: str) -> str:
    return f"factory/{device}/16/{device}-factory-{CURRENT}.zip"


def line(device: str, channel: str = "stable") -> str:
    return f"ota/{device}/{device}-{channel}"


class World:
    """What is spoilt: volumes of both servers, and the two repositories."""

    def __init__(self, volumes: dict[str, Path], metadata: dict[str, bytes], checksums: dict[str, bytes]) -> None:
        self.volumes, self.metadata, self.checksums = volumes, metadata, checksums

    def public(self, path: str, server: str = ONE) -> Path:
        return self.volumes[server] / "public" / path

    def served(self, path: str, server: str = ONE) -> Path:
        return self.volumes[server] / "metadata" / path

    def change(self, path: str, content: bytes, server: str = ONE) -> None:
        """Other bytes of the same time."""
        place = self.public(path, server)
        seen = place.stat()
        place.write_bytes(content)
        os.utime(place, ns=(seen.st_atime_ns, seen.st_mtime_ns))

    def commit(self, path: str, content: bytes) -> None:
        """Metadata that both servers serve as well."""
        self.metadata[path] = content
        for server in BOTH:
            self.served(path, server).write_bytes(content)

    def add(self, path: str, like: str, servers: tuple[str, ...] = BOTH, *, days: int = 0) -> None:
        """A further package, with its checksum, as much older than another one."""
        for server in servers:
            for ending in ("", ".sha256sum"):
                place = self.public(path + ending, server)
                place.parent.mkdir(parents=True, exist_ok=True)
                text = self.public(like + ending, server).read_bytes()
                place.write_bytes(text.replace(Path(like).name.encode(), Path(path).name.encode()))
                stamp = STAMPS[OLD] - days * 86400
                os.utime(place, (stamp, stamp))


@dataclass(frozen=True)
class Damage:
    """do: plants it on a device of its own; told: what has to be found, and nothing else of that device's. by: whether
    it can be found from outside alone, on the disk alone; deep: only by reading."""

    name: str
    do: Callable[[World, str], object]
    told: Callable[[str], Told]
    by: str = "outside, inside"
    deep: bool = False


def nothing(_world: World, _device: str) -> None:
    """The other server's configuration is what is wrong: see SPOILT."""


def packages(device: str) -> tuple[str, ...]:
    """Those that are asked for below ota/."""
    return full(device), full(device, OLD), incremental(device)


def cut(world: World, device: str) -> None:
    world.change(full(device), world.public(full(device)).read_bytes()[:-100])


def cut_everywhere(world: World, device: str) -> None:
    for server in BOTH:
        world.change(factory(device), world.public(factory(device), server).read_bytes()[:-100], server)


def flip(world: World, device: str) -> None:
    content = bytearray(world.public(full(device)).read_bytes())
    content[60] ^= 1
    world.change(full(device), bytes(content))


def renamed_base(world: World, device: str) -> None:
    world.add(incremental(device, "999999999"), incremental(device))


def ahead(world: World, device: str) -> None:
    world.commit(line(device, "testing"), f"{NEXT} {STAMPS[NEXT]} 16\n".encode())


def many_old(world: World, device: str) -> None:
    """Four builds older than the two that are released, of which two are kept: those two that are older than all."""
    for number in range(4):
        world.add(orphan(device, number), full(device, OLD), days=100 * (4 - number))


def swapped(world: World, device: str) -> None:
    world.public(factory(device)).unlink()
    world.public(factory(device)).symlink_to(world.public(full(device)))


def rewritten(path: Callable[[str], str], text: str) -> Callable[[World, str], None]:
    def do(world: World, device: str) -> None:
        world.served(path(device)).write_text(text)

    return do


def changelog(device: str) -> str:
    return f"{line(device)}-changelog.html"


def beside(device: str) -> str:
    return f"{full(device)}.sha256sum"


def orphan(device: str, number: int) -> str:
    return full(device, f"25010{number}000")


DAMAGES = (
    Damage("a package is gone", lambda w, d: w.public(full(d)).unlink(), lambda d: {(ONE, Kind.AHEAD, full(d))}),
    Damage(
        "a factory image is gone", lambda w, d: w.public(factory(d), OTHER).unlink(),
        lambda d: {(OTHER, Kind.AHEAD, factory(d))},
    ),
    Damage(
        "a recorded incremental is gone", lambda w, d: w.public(incremental(d)).unlink(),
        lambda d: {(ONE, Kind.MISSING, incremental(d))},
    ),
    Damage("metadata is ahead", ahead, lambda d: {(one, Kind.AHEAD, full(d, NEXT)) for one in BOTH}),
    Damage("a line is gone", lambda w, d: w.served(line(d)).unlink(), lambda d: {(ONE, Kind.MISSING, line(d))}),
    Damage(
        "a changelog is gone", lambda w, d: w.served(changelog(d)).unlink(),
        lambda d: {(ONE, Kind.MISSING, changelog(d))},
    ),
    Damage(
        "a checksum is gone", lambda w, d: w.public(beside(d)).unlink(), lambda d: {(ONE, Kind.MISSING, beside(d))}
    ),
    Damage("a package is cut", cut, lambda d: {(ONE, Kind.TRUNCATED, full(d))}),
    Damage("one is cut everywhere", cut_everywhere, lambda d: {(one, Kind.TRUNCATED, factory(d)) for one in BOTH}),
    Damage(
        "a package is longer", lambda w, d: w.change(full(d), w.public(full(d)).read_bytes() + b"x" * 9),
        lambda d: {(ONE, Kind.DIFFERING, full(d))},
        by="inside",
    ),
    Damage(
        "a byte is another", flip, lambda d: {(ONE, Kind.DIFFERING, full(d))}, deep=True,
        by="",
    ),
    Damage(
        "a line is older", rewritten(line, f"{OLD} {STAMPS[OLD]} 16\n"), lambda d: {(ONE, Kind.DIFFERING, line(d))}
    ),
    Damage("a line is none", rewritten(line, "<html>\x1b[31m\n"), lambda d: {(ONE, Kind.MALFORMED, line(d))}),
    Damage(
        "a line is none in the repository", lambda w, d: w.commit(line(d), b"260720420 soon 16\n"),
        lambda d: {(WORLD, Kind.MALFORMED, line(d))},
    ),
    Damage(
        "a changelog is another", rewritten(changelog, "<p>\n"), lambda d: {(ONE, Kind.DIFFERING, changelog(d))}
    ),
    Damage(
        "a checksum is another", lambda w, d: w.change(beside(d), b"0" * 64 + b"\n"),
        lambda d: {(ONE, Kind.DIFFERING, beside(d))},
    ),
    Damage(
        "a checksum is none", lambda w, d: w.change(beside(d), b"to be done\n"),
        lambda d: {(ONE, Kind.MALFORMED, beside(d))},
    ),
    Damage(
        "a checksum is none on record", lambda w, d: w.checksums.update({beside(d): b"to be done\n"}),
        lambda d: {(LIST, Kind.MALFORMED, beside(d))},
    ),
    Damage(
        "an incremental begins nowhere", lambda w, d: w.add(incremental(d, "999999999"), incremental(d)),
        lambda d: {(one, Kind.UNUSABLE, incremental(d, "999999999")) for one in BOTH},
        by="inside",
    ),
    Damage(
        "an incremental lies elsewhere", lambda w, d: w.add(incremental(d, OLD, "15"), incremental(d)),
        lambda d: {(one, Kind.UNUSABLE, incremental(d, OLD, "15")) for one in BOTH},
        by="inside",
    ),
    Damage(
        "times differ", lambda w, d: os.utime(w.public(full(d), OTHER), (1, 1)),
        lambda d: {(OTHER, Kind.DISAGREE, full(d))},
    ),
    Damage(
        "one has more", lambda w, d: w.add(full(d, "260601000"), full(d, OLD), (ONE,)),
        lambda d: {(OTHER, Kind.DISAGREE, f"{full(d, '260601000')}{ending}") for ending in ("", ".sha256sum")},
        by="inside",
    ),
    Damage(
        "all may write to it", lambda w, d: w.public(full(d)).chmod(0o666), lambda d: {(ONE, Kind.OWNER, full(d))},
        by="inside",
    ),
    Damage(
        "a package is a link", swapped, lambda d: {(ONE, Kind.OWNER, factory(d))},
        by="inside",
    ),
    Damage(
        "another owner", lambda w, d: shutil.chown(w.public(full(d)), "nobody"), lambda d: {(ONE, Kind.OWNER, full(d))},
        by="inside",
    ),
    Damage(
        "nobody needs it", many_old, lambda d: {(o, Kind.ORPHANED, orphan(d, n)) for o in BOTH for n in range(2)},
        by="inside",
    ),
    Damage(
        "a type is wrong", nothing, lambda d: {(OTHER, Kind.ANSWER, path) for path in packages(d)},
        by="outside",
    ),
    Damage(
        "a page with 200 where nothing is", nothing, lambda d: {(OTHER, Kind.ANSWER, incremental(d, "0"))},
        by="outside",
    ),
    Damage(
        "redirected", nothing,
        lambda d: {(OTHER, Kind.ANSWER, one + end) for one in packages(d) for end in ("", ".sha256sum")}
        | {(OTHER, Kind.ANSWER, incremental(d, "0"))},
        by="outside",
    ),
    Damage(
        "a line is cached for an hour", nothing, lambda d: {(OTHER, Kind.ANSWER, line(d))},
        by="outside",
    ),
    Damage(
        "a line is compressed", nothing, lambda d: {(OTHER, kind, line(d)) for kind in (Kind.ANSWER, Kind.MALFORMED)},
        by="outside",
    ),
)  # fmt: skip
SPOILT = """
    location ~ ^/ota/{0}/16/.*zip$ {{ types {{ }} default_type text/html; try_files $uri =404; }}
    location ~ ^/ota/{1}/16/ {{ try_files $uri /ota/{1}/16/{1}-ota_update-260720420.zip.sha256sum; }}
    location ~ ^/ota/{2}/16/ {{ return 302 https://example.org$request_uri; }}
    location = /ota/{3}/{3}-stable {{
        root {{{{ mount }}}}/metadata;
        expires 1h;
        default_type text/plain;
    }}
    location = /ota/{4}/{4}-stable {{
        root {{{{ mount }}}}/metadata;
        gzip on;
        gzip_min_length 1;
        gzip_types text/plain;
        default_type text/plain;
    }}
"""
"""What the other server's configuration has besides, for the last damages, on these devices."""
