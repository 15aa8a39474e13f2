"""What an audit's program tells of a server's disk: it follows no link, changes nothing, and is bounded."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roles.common.publishing.servers import Place, ServerError, session
from roles.release.tools.audit import on_disk
from roles.release.tools.audit.audit import PROGRAM
from roles.release.tools.audit.reader import reader

ZIP = "ota/panther/16/panther-ota_update-1.zip"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    root = tmp_path / "release"
    for path, text in (
        (f"public/{ZIP}", "zip"),
        (f"public/{ZIP}.sha256sum", "sum"),
        ("metadata/ota/panther/panther-stable", "line"),
        ("metadata/.commit", "c0ffee\n"),
        ("secret", "key"),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def ask(root: Path, do: str, **more: Any) -> dict[str, Any]:
    return on_disk.answer(root, {"do": do, **more}, lambda _: None)


def test_a_survey_tells_files_texts_and_room(volume: Path) -> None:
    told = ask(volume, "survey")
    assert {path for path, facts in told["files"].items() if facts[0] == "file"} == {
        f"public/{ZIP}",
        f"public/{ZIP}.sha256sum",
        "metadata/ota/panther/panther-stable",
        "metadata/.commit",
    }
    assert told["texts"] == {
        f"public/{ZIP}.sha256sum": "sum",
        "metadata/ota/panther/panther-stable": "line",
        "metadata/.commit": "c0ffee\n",
    }
    size, mode, owner = told["files"][f"public/{ZIP}"][1:4]
    assert (size, mode, owner) == (3, (volume / f"public/{ZIP}").stat().st_mode & 0o777, os.getuid())
    assert 0 < told["free"] <= told["size"]


def test_sizes_are_those_that_were_published(volume: Path) -> None:
    (volume / "publications").mkdir()
    for name, text in (
        ("a", json.dumps({"files": [{"path": ZIP, "size": 4}]})),
        ("b", "no json"),
        ("c", '{"files": [1]}'),
        ("d", "[]"),
    ):
        (volume / f"publications/{name}.json").write_text(text)
    assert ask(volume, "survey")["sizes"] == {ZIP: 4}


def test_no_link_is_followed(volume: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "16").mkdir(parents=True)
    (outside / "16/x.zip").write_text("theirs")
    (volume / "public/ota/linked").symlink_to(outside)
    (volume / "public/ota/file.sha256sum").symlink_to(volume / "secret")
    told = ask(volume, "survey")
    assert told["files"]["public/ota/linked"][0] == "a symbolic link"
    assert not [path for path in told["files"] if path.startswith("public/ota/linked/")]
    assert "public/ota/file.sha256sum" not in told["texts"]
    assert ask(volume, "digest", path="public/ota/linked/16/x.zip").keys() == {"error"}
    assert ask(volume, "digest", path="public/ota/file.sha256sum").keys() == {"error"}
    assert ask(volume, "tails", paths=["public/ota/linked/16/x.zip"]) == {"tails": {}}


def test_a_pipe_is_told_and_not_waited_for(volume: Path) -> None:
    os.mkfifo(volume / "public/ota/pipe.zip")
    assert ask(volume, "survey")["files"]["public/ota/pipe.zip"][0] == "a FIFO"
    assert ask(volume, "digest", path="public/ota/pipe.zip").keys() == {"error"}


def test_every_byte_is_read(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "BLOCK", 1000)
    monkeypatch.setattr(on_disk, "TELL_BYTES", 3000)
    content = os.urandom(10_001)
    (volume / f"public/{ZIP}").write_bytes(content)
    told: list[int] = []
    answer = on_disk.answer(volume, {"do": "digest", "path": f"public/{ZIP}"}, told.append)
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    seen = (volume / f"public/{ZIP}").stat()
    assert answer["known"] == [seen.st_size, seen.st_mtime_ns, seen.st_ino]
    assert told == [3000, 3000, 3000, 1001]


def test_too_many_files_are_refused_and_large_texts_are_not_told(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "TEXT_AT_MOST", 3)
    assert ask(volume, "survey")["texts"] == {f"public/{ZIP}.sha256sum": "sum"}
    monkeypatch.setattr(on_disk, "FILES_AT_MOST", 5)
    with pytest.raises(on_disk.Refused, match="more than 5 files"):
        ask(volume, "survey")


def test_it_is_asked_as_publishings_program_is(volume: Path) -> None:
    place = Place("one", str(volume), lambda *words: words)
    with session(place, PROGRAM) as to:
        assert f"public/{ZIP}" in to.ask("survey")["files"]
        with pytest.raises(ServerError, match="one: unknown request 'remove'"):
            to.ask("remove")
        assert to.ask("digest", path=f"public/{ZIP}")["sha256"] == hashlib.sha256(b"zip").hexdigest()
    nowhere = Place("two", f"{volume}/none", lambda *words: words)
    with session(nowhere, PROGRAM) as to, pytest.raises(ServerError, match=r"two: .*none is not there"):
        to.ask("survey")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """As it lies on servers."""
    path = tmp_path / "read_packages.py"
    path.write_bytes(reader())
    return path


def test_on_a_server_it_needs_the_standard_library_alone(program: Path) -> None:
    script = "import sys; before = {*sys.modules}; sys.path.insert(0, sys.argv[1]); "
    script += "from roles.release.tools.audit import on_disk; assert sys.argv[1] in on_disk.__file__; "
    script += "print(*sorted({one.split('.')[0] for one in {*sys.modules} - before} - {*sys.stdlib_module_names}))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["roles"]), done.stderr


def sealed(volume: Path, content: bytes = b"zip") -> None:
    digest = hashlib.sha256(b"zip").hexdigest()
    (volume / f"public/{ZIP}").write_bytes(content)
    (volume / f"public/{ZIP}.sha256sum").write_text(f"{digest}  {Path(ZIP).name}\n")


def nightly(program: Path, volume: Path, state: Path) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-I", "-S", str(program), "nightly", str(volume), str(state)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_by_timer_it_reads_keeps_what_it_read_and_fails_until_damage_is_mended(
    program: Path, volume: Path, tmp_path: Path
) -> None:
    state = tmp_path / "read.json"
    sealed(volume)
    done = nightly(program, volume, state)
    assert (done.returncode, done.stderr) == (0, "")
    assert on_disk.load(state)["readings"][ZIP]["sha256"] == hashlib.sha256(b"zip").hexdigest()
    sealed(volume, b"zap")
    for _ in range(2):
        done = nightly(program, volume, state)
        assert done.returncode == 1
        assert done.stderr.startswith(f"{ZIP}: SHA-256 {hashlib.sha256(b'zap').hexdigest()}, and ")
    sealed(volume)
    assert nightly(program, volume, state).returncode == 0


def test_what_the_timer_read_is_in_the_survey(
    program: Path, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_disk, "STATE", tmp_path / "read.json")
    assert ask(volume, "survey")["readings"] == {}
    nightly(program, volume, on_disk.STATE)
    assert [*ask(volume, "survey")["readings"]] == [ZIP]
    for text in ("", "[]", '{"last": 1, "readings": {"x": {}}}', '{"last": "x", "readings": {}}'):
        on_disk.STATE.write_text(text)
        assert ask(volume, "survey")["readings"] == {}
