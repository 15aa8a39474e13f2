"""Runs of the mirror's fetching program that are killed, cut off or without room, while readers look on."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.git_server import Forge, git
from tests.mirroring import Mirror, listing
from tests.waiting import rounds, until

NAMES = ["grows", "rewritten", "tools"]
REAL = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Forge]:
    with listing(tmp_path, NAMES) as made:
        yield made


@pytest.fixture
def mirror(tmp_path: Path, source: Forge) -> Mirror:
    return Mirror(tmp_path / "mirror", source, {"parallel": 1})


def noise(kib: int, seed: int = 1) -> str:
    """What does not get smaller in a pack."""
    return Random(seed).randbytes(kib * 512).hex()


def many() -> dict[str, str]:
    """So many files that git keeps them as one pack."""
    return {f"file{number}": noise(16, number) for number in range(150)}


@contextmanager
def read(mirror: Mirror) -> Iterator[list[str]]:
    """A reader who takes all of each repository that is served, over and over: what was wrong with it."""
    wrong: list[str] = []
    seen: list[str] = []
    ended = threading.Event()

    def look() -> None:
        for _ in rounds(ended):
            for name in mirror.names():
                words = [REAL, f"--git-dir={mirror.place(name)}", "rev-list", "--objects", "--all", "--quiet", "HEAD"]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                seen.append(name)
                if done.returncode:
                    wrong.append(f"{name}: {done.stderr}")

    reader = threading.Thread(target=look)
    reader.start()
    try:
        yield wrong
    finally:
        ended.set()
        reader.join()
    assert seen


def change(source: Forge) -> dict[str, str]:
    """A branch that is rewritten, one that goes, a new repository, and more of another. What is lost, by its ref."""
    bare = source.folder("rewritten")
    lost = git(bare, "rev-parse", "main")
    git(bare, "branch", "-D", "side")
    git(bare, "update-ref", "refs/heads/main", "main^")
    source.make("rewritten", {"c": "instead\n"}, "three")
    source.make("grows", {"b": "more\n"}, "two")
    source.make("new", {"a": "new\n"})
    assert source.projects
    source.projects.append("new")
    return dict.fromkeys(("heads/main", "heads/side"), lost)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=[] if step in (5, 8, 15) else pytest.mark.full) for step in range(1, 19)]
)
def test_one_that_is_killed_is_gone_on_with_and_no_reader_sees_it(
    mirror: Mirror, source: Forge, tmp_path: Path, step: int, when: str
) -> None:
    """At each of its calls of git."""
    source.make("rewritten", {"b": "lost\n"}, "two")
    git(source.folder("rewritten"), "branch", "side", "main")
    mirror.well()
    lost = change(source)
    programs, count = tmp_path / "programs", tmp_path / "count"
    programs.mkdir()
    kill = f"[ $n -ne {step} ] || {{ kill -9 $PPID; exit 1; }}"
    work = f'{REAL} "$@"; code=$?'
    body = f"{kill}\n{work}" if when == "before" else f"{work}\n{kill}"
    (programs / "git").write_text(f"#!/bin/sh\nn=$(wc -l <{count}); n=$((n + 1)); echo >>{count}\n{body}\nexit $code\n")
    (programs / "git").chmod(0o755)
    count.touch()
    mirror.programs = str(programs)
    with read(mirror) as wrong:
        code, said = mirror.run()
        mirror.kill()
        assert (code, said.count("FAILED")) == (-9, 0), f"{step} is more than it has steps: {said}"
        mirror.programs = ""
        mirror.well()
    assert wrong == []
    assert mirror.names() == sorted([*NAMES, "new"])
    assert mirror.agrees(*NAMES, "new")
    kept = {name.split("/", 3)[3]: tip for name, tip in mirror.refs("rewritten", "refs/kept").items()}
    assert kept == lost
    assert [*mirror.folder.glob("incoming/*")] == [*mirror.folder.rglob("mainstay-begun")] == []
    assert "0 changed" in mirror.well()


def unwhole(mirror: Mirror) -> list[Path]:
    """Objects that are on their way, wherever."""
    return [*mirror.folder.rglob("tmp_*")]


@pytest.mark.parametrize("is_new", [True, False])
def test_one_that_is_killed_in_the_middle_of_objects_leaves_nothing(
    mirror: Mirror, source: Forge, *, is_new: bool
) -> None:
    if not is_new:
        mirror.well()
    source.make("grows", many(), "two")
    source.stalled.add("grows")
    with read(mirror) as wrong:
        running = mirror.begin()
        until("objects are on their way", lambda: unwhole(mirror))
        running.kill()
        running.communicate()
        code, said = mirror.run()
        assert (code, said) == (4, "another run is at it, or git of one that was killed\n")
        mirror.kill()
        (mirror.folder / "incoming/left.git/refs").mkdir(parents=True)
        for lock in () if is_new else ("HEAD.lock", "packed-refs.lock", "refs/heads/main.lock"):
            (mirror.place("grows") / lock).touch()
        source.stalled.clear()
        mirror.well()
    assert wrong == []
    assert unwhole(mirror) == [*mirror.folder.rglob("*.lock")] == [*mirror.folder.glob("incoming/*")] == []
    assert mirror.agrees(*NAMES)


def test_a_connection_that_ends_in_the_middle_of_objects_changes_nothing(mirror: Mirror, source: Forge) -> None:
    mirror.well()
    before = mirror.refs("grows")
    for name in ("grows", "tools"):
        source.make(name, many(), "two")
    source.cut.add("grows")
    with read(mirror) as wrong:
        code, said = mirror.run()
        assert code == 1
        assert "FAILED grows: git fetch: " in said
        assert mirror.refs("grows") == before
        assert unwhole(mirror) == []
        assert mirror.agrees("tools")
        source.cut.clear()
        mirror.well()
    assert wrong == []
    assert mirror.agrees(*NAMES)


@pytest.mark.lab
def test_a_full_disk_stops_what_has_no_room_and_nothing_else(mirror: Mirror, source: Forge) -> None:
    folder = str(mirror.folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "test", folder], check=True)
    try:
        mirror.__post_init__()
        mirror.well()
        before = mirror.refs("grows")
        source.make("grows", {"b": noise(8192)}, "two")
        source.make("new", {"a": noise(8192, 2)})
        source.make("tools", {"b": "more\n"}, "two")
        assert source.projects
        source.projects.append("new")
        with read(mirror) as wrong:
            code, said = mirror.run()
            assert (code, {*mirror.status["failed"]}) == (1, {"grows", "new"}), said
            assert "No space left on device" in said
            assert mirror.refs("grows") == before
            assert mirror.agrees("tools")
            assert unwhole(mirror) == [*mirror.folder.glob("incoming/*")] == []
            subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
            mirror.well()
        assert wrong == []
        assert mirror.agrees(*NAMES, "new")
    finally:
        subprocess.run(["umount", folder], check=True)
