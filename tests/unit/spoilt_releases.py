"""Ways to spoil a release of `panther`: one thing each, and all else stays true."""

import os
import zipfile
from collections.abc import Callable
from dataclasses import replace

from lab import release_build
from roles.release.tools.ota_metadata import METADATA, PAYLOAD
from tests.unit.releases import FULL, INCREMENTAL, OLD, Release

LINE = "ota/panther/panther-stable"
SUM = f"{FULL}.sha256sum"
Spoil = Callable[[Release], object]


def spoil(path: str, member: str, old: str, new: str) -> Spoil:
    return lambda one: one.alter(path, member, old, new)


def meta(old: str, new: str, path: str = FULL) -> Spoil:
    return spoil(path, METADATA, old, new)


def put(path: str, content: str | bytes) -> Spoil:
    return lambda one: one.write(path, content)


def sparse(path: str) -> Spoil:
    def work(one: Release) -> None:
        with (one.folder / path).open("r+b") as file:
            file.truncate(1 << 30)

    return work


def move(old: str, new: str) -> Spoil:
    def work(one: Release) -> None:
        (one.folder / new).parent.mkdir(parents=True, exist_ok=True)
        (one.folder / old).rename(one.folder / new)

    return work


def linked(one: Release) -> None:
    (one.folder / LINE).unlink()
    (one.folder / LINE).symlink_to("/etc/hostname")


def piped(one: Release) -> None:
    os.mkfifo(one.folder / f"ota/panther/16/panther-ota_update-{OLD.number}.zip")


def cut(one: Release) -> None:
    with (one.folder / FULL).open("r+b") as file:
        file.truncate(20_000)
    one.sealed(FULL, sign=False)


def longer(one: Release) -> None:
    with (one.folder / FULL).open("ab") as file:
        file.write(b"more")
    one.sealed(FULL, sign=False)


def flipped(one: Release) -> None:
    one.alter(FULL, PAYLOAD, b"CrAU\0\0\0\0\0\0\0\2", b"CrAU\0\0\0\0\0\0\0\3")


def rotten(path: str) -> Spoil:
    """A byte of a member, and the checksum is true to it."""

    def work(one: Release) -> None:
        data = bytearray((one.folder / path).read_bytes())
        data[len(data) // 2] ^= 1
        one.write(path, bytes(data))
        one.sealed(path, sign=not path.startswith("factory"))

    return work


def unsigned(one: Release) -> None:
    release_build.sign(one.folder / FULL, one.signer)
    data = (one.folder / FULL).read_bytes()
    at = data.rindex(b"PK\5\6")
    one.write(FULL, data[: at + 20] + b"\0\0")
    one.sealed(FULL, sign=False)


def of_another(one: Release) -> None:
    release_build.sign(one.folder / FULL, release_build.signer(one.keys, "shiba"))
    one.sealed(FULL, sign=False)


def by_another_key(one: Release) -> None:
    """The device's own certificate is enclosed; the key is not its own."""
    theirs = release_build.signer(one.keys, "shiba")
    release_build.sign(one.folder / FULL, replace(one.signer, key=theirs.key))
    one.sealed(FULL, sign=False)


def no_certificate(one: Release) -> None:
    (one.certificates / "panther.x509.pem").unlink()


def bad_certificate(one: Release) -> None:
    (one.certificates / "panther.x509.pem").write_text("-----BEGIN CERTIFICATE-----\nnone\n")


def renamed(name: str) -> Spoil:
    """An incremental from another build, by its name and by what it says."""

    def work(one: Release) -> None:
        there = INCREMENTAL.replace(OLD.number, name)
        (one.folder / f"{INCREMENTAL}.sha256sum").unlink()
        (one.folder / INCREMENTAL).rename(one.folder / there)
        one.alter(there, METADATA, f"pre-build-incremental={OLD.number}", f"pre-build-incremental={name}")

    return work


def other_name(member: str) -> Spoil:
    """A member's bytes under another name, in both of the zip's records."""

    def work(one: Release) -> None:
        with zipfile.ZipFile(one.folder / FULL) as opened:
            info, start = opened.getinfo(member), opened.start_dir
        data = bytearray((one.folder / FULL).read_bytes())
        for at in (info.header_offset + 30, data.index(member.encode(), start)):
            data[at + len(member) - 1] = ord("X")
        one.write(FULL, bytes(data))
        one.sealed(FULL)

    return work


def without(path: str) -> Spoil:
    return lambda one: (one.folder / path).unlink()


def base(timestamp: int) -> Spoil:
    """The base's full OTA is there too, with a timestamp that does not come before."""

    def work(one: Release) -> None:
        build = replace(OLD, timestamp=timestamp)
        release_build.checksum(release_build.ota(one.folder / "ota/panther/16", "panther", build, one.signer, 30_000))

    return work


def no_full(one: Release) -> None:
    (one.folder / FULL).unlink()
    (one.folder / SUM).unlink()
    for channel in ("testing", "security-express", "beta", "otatest"):
        (one.folder / f"ota/panther/panther-{channel}").unlink()


def other_base(one: Release) -> None:
    path = f"ota/panther/16/panther-ota_update-{OLD.number}.zip"
    release_build.ota(one.folder / "ota/panther/16", "panther", OLD, one.signer, 30_000)
    one.alter(path, METADATA, "post-build=google/", "post-build=elgoog/")


def patched_less(one: Release) -> None:
    path = f"ota/panther/16/panther-ota_update-{OLD.number}.zip"
    release_build.ota(one.folder / "ota/panther/16", "panther", OLD, one.signer, 30_000)
    one.alter(path, METADATA, "level=2026-07-05", "level=2026-09-05")
