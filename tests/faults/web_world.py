"""Two web servers' programs on this machine, real rsync, and a publisher that may die at any step."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import sample
from roles.common.publishing.servers import Place, Session
from roles.web.tools import publish as publishing
from roles.web.tools.change import Change
from roles.web.tools.content import read, read_message
from roles.web.tools.publish import Run

NAMES = ("web-1", "web-2")
START = datetime(2026, 11, 26, 12, tzinfo=UTC)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Killed(BaseException):
    """Where a publisher died."""


@dataclass
class World:
    """Two web servers, and a site that changes."""

    folder: Path
    at: Callable[[str, str], None] = lambda _when, _step: None
    runs: int = 0
    notes: list[str] = field(default_factory=list)
    to: Session | None = None
    """The server that a step is of."""

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def places(self) -> list[Place]:
        return [Place(name, str(self.folder / name), lambda *words: words) for name in NAMES]

    def run(self, **more: Any) -> Run:
        self.runs += 1
        now = more.pop("now", START + timedelta(minutes=self.runs))
        return Run(more.pop("places", self.places), self.look, 3, self, "alice", now=now, **more)

    def look(self, place: Place, manifest: dict[str, Any], paths: Any) -> list[str]:
        self.at("before", "look")
        return [] if self.shown(place.name) == manifest["id"] else [f"serves {self.shown(place.name)}"]

    def publish(self, text: str = "", **more: Any) -> Change:
        if text:
            (self.site / "about.html").write_text(text)
        replace = more.pop("replace_message", False)
        scratch = self.folder / f"scratch-{self.runs}"
        return publishing.publish(self.run(**more), read(self.site, scratch), replace_message=replace)

    def message(self, text: str, **more: Any) -> Change:
        (self.folder / "message").write_text(text)
        return publishing.message(self.run(**more), read_message(self.folder / "message", self.folder / "scratch"))

    def rollback(self, name: str = "", **more: Any) -> Change:
        return publishing.rollback(self.run(**more), name)

    def status(self, **more: Any) -> dict[str, dict[str, Any]]:
        return publishing.status(self.run(**more))

    def file(self, server: str, path: str = "about.html") -> str:
        return (self.folder / server / "public" / path).read_text()

    def shown(self, server: str) -> str:
        """The release that visitors see, all of which must be as its manifest says."""
        public = self.folder / server / "public"
        if not public.is_symlink():
            return ""
        at = public.resolve()
        manifest = json.loads((at.parent / "manifest.json").read_text())
        there = {str(path.relative_to(at)): path.stat().st_size for path in at.rglob("*") if path.is_file()}
        assert there == {file["path"]: file["size"] for file in manifest["files"]}
        return str(manifest["id"])

    def both(self) -> set[str]:
        """What each server serves; none has anything left on its way."""
        for name in NAMES:
            assert names(self.folder / name / "incoming") == [".lock"]
        return {self.shown(name) for name in NAMES}

    def step(self, name: str, total: int = 0) -> None: ...

    def progress(self, count: int) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def web_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A fixture's body."""
    for name in NAMES:
        (tmp_path / name / "public").mkdir(parents=True)
    sample.website(tmp_path / "site")
    made = World(tmp_path)
    for method, called in (("ask", lambda _, do, *__: do), ("upload", lambda *_: "upload")):
        monkeypatch.setattr(Session, method, _passing(made, getattr(Session, method), called))
    return made


def _passing(world: World, real: Callable[..., Any], called: Callable[..., str]) -> Callable[..., Any]:
    """Each step of a publisher passes by `world.at`, before and after it took place."""

    def passing(*arguments: Any, **more: Any) -> Any:
        world.to = arguments[0]
        world.at("before", called(*arguments))
        done = real(*arguments, **more)
        world.at("after", called(*arguments))
        return done

    return passing


def die_at(world: World, when: str, step: str, allowed: set[str]) -> None:
    """Whichever server comes first. Until then each serves one of these, whole."""

    def at(moment: str, name: str) -> None:
        assert {world.shown(one) for one in NAMES} <= allowed
        if (moment, name) == (when, step):
            raise Killed

    world.at = at


def alive(world: World) -> None:
    world.at = lambda _when, _step: None
