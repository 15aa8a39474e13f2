"""Small releases that are good, and ways to spoil one thing of them and nothing else."""

import shutil
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import release_build, sample
from roles.release.archive import Offer
from roles.release.tools.check import Verdict, check

DEVICES = tuple(one for one in sample.DEVICES if one.name != sample.RETIRED)
NEW, OLD = sample.CURRENT, sample.OLD
BYTES = 30_000
FULL = f"ota/panther/16/panther-ota_update-{NEW.number}.zip"
INCREMENTAL = f"ota/panther/16/panther-incremental-{OLD.number}-{NEW.number}.zip"
FACTORY = f"factory/panther/16/panther-factory-{NEW.number}.zip"
PUBLISHED = {
    ("panther", channel): Offer(OLD.number, OLD.timestamp, OLD.android)
    for channel in (*sample.CHANNELS, "factory", "oldstable")
}


@dataclass(frozen=True)
class Release:
    """A release, and the keys that it is signed with."""

    folder: Path
    keys: Path

    @property
    def certificates(self) -> Path:
        return self.keys / release_build.CERTIFICATES

    @property
    def signer(self) -> release_build.Signer:
        return release_build.signer(self.keys, "panther")

    def check(self, against: dict[tuple[str, str], Offer] | None = None) -> Verdict:
        return check(self.folder, self.certificates, PUBLISHED if against is None else against, lambda _: None)

    def copy(self, target: Path, device: str = "panther") -> "Release":
        """One device of it, to be spoilt."""
        for kind in ("ota", "factory"):
            shutil.copytree(self.folder / kind / device, target / "release" / kind / device)
        shutil.copytree(self.keys, target / "keys")
        return Release(target / "release", target / "keys")

    def write(self, path: str, content: str | bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content.encode() if isinstance(content, str) else content)

    def sealed(self, path: str, *, sign: bool = True) -> None:
        """Signs a package that was changed, and writes its checksum."""
        if sign:
            release_build.sign(self.folder / path, self.signer)
        release_build.checksum(self.folder / path)

    def alter(self, path: str, member: str, old: str | bytes, new: str | bytes, *, crc: bool = True) -> None:
        """Changes bytes of a stored member into as many others, and seals the package: all else stays true."""
        was, is_ = (one.encode() if isinstance(one, str) else one for one in (old, new))
        assert len(was) == len(is_), (was, is_)
        package = self.folder / path
        with zipfile.ZipFile(package) as opened:
            info, central = opened.getinfo(member), opened.start_dir
        data = bytearray(package.read_bytes())
        start = info.header_offset + 30 + len(member)
        at = data.index(was, start, start + info.file_size)
        data[at : at + len(was)] = is_
        if crc:
            fresh = struct.pack("<L", zlib.crc32(data[start : start + info.file_size]))
            name = data.index(member.encode(), central)
            data[info.header_offset + 14 : info.header_offset + 18] = fresh
            data[name - 46 + 16 : name - 46 + 20] = fresh
        package.write_bytes(data)
        self.sealed(path)


def built(folder: Path) -> Release:
    """All devices of the sample but the retired one, one of them signed by RSA."""
    for device in DEVICES:
        bits = 2048 if device.name == "FP5" else 0
        release_build.release(folder / "release", folder / "keys", [device], full_bytes=BYTES, rsa_bits=bits)
    return Release(folder / "release", folder / "keys")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return built(tmp_path_factory.mktemp("good"))


@pytest.fixture
def one(good: Release, tmp_path: Path) -> Release:
    return good.copy(tmp_path)


def said(verdict: Verdict) -> list[str]:
    return [str(one) for one in verdict.problems]
