"""Two release servers, two repositories and a release on this machine: the servers' own program, real git and rsync."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from roles.common.publishing.servers import Place, session
from roles.release.archive import SHA256SUM, Offer
from roles.release.tools.publication import Publication, publication
from roles.release.tools.publish import PROGRAM, Run, Site, publish
from roles.release.tools.repository import Repository
from tests.unit.releases import Release

KEPT = ("ota/panther/panther-testing", "1 1 15\n")
SERVERS = ("release-1", "release-2")


@dataclass
class World:
    """Two release servers, two repositories, a release."""

    folder: Path
    release: Release
    what: Publication
    heard: list[str] = field(default_factory=list)
    at: Callable[[str, str], None] = lambda _when, _step: None

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(Place(name, str(self.folder / name), lambda *words: words, (), "") for name in SERVERS)

    def repository(self, name: str) -> Repository:
        return Repository(str(self.folder / f"{name}.git"), self.folder / f"cache/{name}")

    def site(self, names: tuple[str, ...] = SERVERS) -> Site:
        return Site(
            tuple(one for one in self.places if one.name in names),
            self.repository("metadata"),
            self.repository("checksums"),
            self.look,
        )

    def look(self, place: Place, _: Publication) -> list[str]:
        self.at("before", "look")
        return self.broken(place)

    def broken(self, place: Place) -> list[str]:
        """What a phone would run into: a line whose package is not there, or is another."""
        root = Path(place.root)
        wrong = []
        for path in (root / "metadata").glob("ota/*/*"):
            if path.name.endswith(".html") or path.name.endswith("-oldstable"):
                continue
            device, _, channel = path.name.partition("-")
            offer = Offer.parse(path.read_text())
            kind, part = ("factory", "factory") if channel == "factory" else ("ota", "ota_update")
            package = root / "public" / kind / device / offer.android / f"{device}-{part}-{offer.build}.zip"
            if not package.exists():
                wrong.append(f"{path.name}: no {package.name}")
            elif hashlib.sha256(package.read_bytes()).hexdigest() not in self.hashes:
                wrong.append(f"{path.name}: {package.name} is another")
        return wrong

    @property
    def hashes(self) -> set[str]:
        return {one.sha256 for one in self.what.packages} | {hashlib.sha256(b"old").hexdigest()}

    def run(self, names: tuple[str, ...] = SERVERS, what: Publication | None = None) -> str:
        return publish(Run(self.site(names), what or self.what, self.release.folder, self, "alice", datetime.now(UTC)))

    def step(self, name: str, total: int = 0) -> None:
        self.heard.append(name)

    def progress(self, count: int) -> None: ...

    def note(self, text: str) -> None:
        self.heard.append(text)

    def head(self, name: str) -> dict[str, bytes]:
        repository = self.repository(name)
        return repository.files(repository.fetch())

    def must_be_published(self) -> None:
        commit = self.repository("metadata").fetch()
        for one in self.places:
            with session(one, PROGRAM) as to:
                status = to.ask("status")
            assert (status["commit"], status["begun"], status["published"]) == (commit, None, [self.what.id])
            assert self.broken(one) == []
            for path, text in self.what.metadata.items():
                assert (Path(one.root) / "metadata" / path).read_text() == text
            for package in self.what.packages:
                there = Path(one.root) / "public" / package.path
                assert hashlib.sha256(there.read_bytes()).hexdigest() == package.sha256
                assert (
                    there.with_name(f"{there.name}{SHA256SUM}").read_text()
                    == self.what.sums[f"{package.path}{SHA256SUM}"]
                )
        assert {path: text.decode() for path, text in self.head("checksums").items() if path != "README"} == (
            self.what.sums
        )


def made_world(release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Servers that offer an old build, and a release that nobody has seen."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Alice")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "alice@example.org")
    for name, path, text in (("metadata", *KEPT), ("checksums", "README", "of all\n")):
        work = folder / f"work-{name}"
        subprocess.run(["git", "init", "-q", "-b", "main", work], check=True)
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(text)
        subprocess.run(["git", "-C", work, "add", "."], check=True)
        subprocess.run(["git", "-C", work, "commit", "-qm", "first"], check=True)
        subprocess.run(["git", "clone", "-q", "--bare", work, folder / f"{name}.git"], check=True)
    for name in SERVERS:
        old = folder / name / "public/ota/panther/15/panther-ota_update-1.zip"
        old.parent.mkdir(parents=True)
        old.write_bytes(b"old")
        shutil.copytree(folder / "work-metadata/ota", folder / name / "metadata/ota")
    verdict = release.check()
    return World(
        folder, release, publication(verdict, "testing", ("panther", "FP5"), {("panther", "testing"): "<p>\n"})
    )
