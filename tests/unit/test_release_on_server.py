"""What publishing does on a server: nothing is replaced, nothing placed that was not verified, no end is the last."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roles.common.publishing.servers import Program
from roles.release.tools import on_server, volume

PROGRAM = Program(volume, on_server)
ZIP, SUM = "ota/panther/16/panther-ota_update-2.zip", "ota/panther/16/panther-ota_update-2.zip.sha256sum"
LINE = "ota/panther/panther-testing"
CONTENT = {ZIP: b"package" * 1000, SUM: b"a checksum"}


class Session:
    """The program, as a publisher speaks to it."""

    def __init__(self, root: Path) -> None:
        self.running = subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM.start, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.running.stdin
        self.running.stdin.write(PROGRAM.source.decode())

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        assert self.running.stdin
        assert self.running.stdout
        self.running.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.running.stdin.flush()
        while "progress" in (told := json.loads(self.running.stdout.readline())):
            pass
        found: dict[str, Any] = told
        return found

    def ok(self, do: str, **more: Any) -> dict[str, Any]:
        told = self.ask(do, **more)
        assert told.pop("ok"), told
        return told

    def refused(self, do: str, **more: Any) -> str:
        told = self.ask(do, **more)
        assert not told["ok"]
        return str(told["why"])

    def kill(self) -> None:
        self.running.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        assert self.running.stdin
        assert self.running.stdout
        self.running.stdin.close()
        self.running.stdout.close()
        self.running.wait()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "public").mkdir()
    return tmp_path


@pytest.fixture
def session(root: Path) -> Iterator[Session]:
    made = Session(root)
    made.ok("lock")
    yield made
    made.end()


def manifest(**more: Any) -> dict[str, Any]:
    files = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "time": 1_785_977_859}
        for path, content in CONTENT.items()
    ]
    return {"id": "p1", "who": "alice", "begun": "today", "reserve": 0, "files": files} | more


def upload(root: Path, **changed: bytes) -> None:
    for path, content in CONTENT.items():
        here = root / "incoming/p1/files" / path
        here.write_bytes(changed.get(Path(path).suffix[1:], content))
        here.chmod(0o600)


def switch(session: Session, **more: Any) -> dict[str, Any]:
    asked = {"commit": "c1", "files": {LINE: "2 1785977859 16\n"}, "promised": [ZIP]} | more
    return session.ask("switch", **asked)


def test_a_publication_is_placed_switched_and_closed(session: Session, root: Path) -> None:
    assert session.ok("begin", manifest=manifest()) == {"placed": [], "came": {}, "missing": [ZIP, SUM]}
    upload(root)
    assert session.ok("verify") == {"wrong": {}}
    session.ok("place")
    session.ok("place")
    assert switch(session)["ok"]
    session.ok("close", done={"commit": "c1"})
    assert {path: (root / "public" / path).read_bytes() for path in CONTENT} == CONTENT
    seen = (root / "public" / ZIP).stat()
    assert (seen.st_mtime, oct(seen.st_mode)) == (1_785_977_859, "0o100644")
    assert (root / "metadata" / LINE).read_text() == "2 1785977859 16\n"
    status = session.ok("status")
    assert (status["commit"], status["begun"], status["published"]) == ("c1", None, ["p1"])
    assert sorted(one.name for one in root.iterdir()) == ["incoming", "metadata", "public", "publications"]
    assert [one.name for one in (root / "incoming").iterdir()] == [".lock"]
    assert json.loads((root / "publications/p1.json").read_bytes())["commit"] == "c1"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"zip": b"package" * 999}, "6,993 bytes, not 7,000"),
        ({"zip": b"packagE" * 1000}, "SHA-256"),
    ],
)
def test_what_came_otherwise_is_told_and_not_placed(
    session: Session, root: Path, changed: dict[str, bytes], told: str
) -> None:
    session.ok("begin", manifest=manifest())
    upload(root, **changed)
    wrong = session.ok("verify")["wrong"]
    assert list(wrong) == [ZIP]
    assert told in wrong[ZIP]
    assert session.refused("place") == f"{ZIP} is not what was verified"
    assert not (root / "public" / ZIP).exists()


def test_what_did_not_come_is_told(session: Session, root: Path) -> None:
    session.ok("begin", manifest=manifest())
    upload(root)
    (root / "incoming/p1/files" / SUM).unlink()
    assert session.ok("verify")["wrong"] == {SUM: "did not come"}


def test_what_changes_after_it_was_verified_is_not_placed(session: Session, root: Path) -> None:
    session.ok("begin", manifest=manifest())
    upload(root)
    session.ok("verify")
    (root / "incoming/p1/files" / ZIP).write_bytes(b"another" * 1000)
    assert session.refused("place") == f"{ZIP} is not what was verified"


def test_a_link_in_place_of_a_package_is_none(session: Session, root: Path) -> None:
    session.ok("begin", manifest=manifest())
    upload(root)
    here = root / "incoming/p1/files" / ZIP
    here.rename(root / "elsewhere")
    here.symlink_to(root / "elsewhere")
    assert session.ok("verify")["wrong"] == {ZIP: "is no file"}


def test_what_is_published_never_changes(session: Session, root: Path) -> None:
    there = root / "public" / ZIP
    there.parent.mkdir(parents=True)
    there.write_bytes(b"other")
    assert "what was published never changes" in session.refused("begin", manifest=manifest())
    there.write_bytes(CONTENT[ZIP])
    assert session.ok("begin", manifest=manifest()) == {"placed": [ZIP], "came": {}, "missing": [SUM]}
    there.write_bytes(b"packagE" * 1000)
    (root / "incoming/p1/files" / SUM).write_bytes(CONTENT[SUM])
    assert list(session.ok("verify")["wrong"]) == [ZIP]


def test_no_room_is_told_before_anything_comes(session: Session, root: Path) -> None:
    room = os.statvfs(root)
    why = session.refused("begin", manifest=manifest(reserve=room.f_blocks * room.f_frsize))
    assert "to spare; there are" in why
    assert not (root / "incoming/p1").exists()


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/./b", "a/.hidden", "", "a\0b"])
def test_no_path_leads_out_of_the_archive(session: Session, root: Path, path: str) -> None:
    file = {"path": path, "size": 1, "sha256": "", "time": 0}
    assert "is no path of what is published" in session.refused("begin", manifest=manifest(files=[file]))
    assert "is no path of what is published" in str(switch(session, files={path: "x"}, promised=[])["why"])
    assert not (root / "metadata").exists() or not any((root / "metadata").iterdir())


def test_no_link_leads_out_of_the_archive(session: Session, root: Path, tmp_path: Path) -> None:
    (root / "public/ota").symlink_to(tmp_path)
    assert "is a link" in session.refused("begin", manifest=manifest())


def test_metadata_never_promises_what_is_not_there(session: Session, root: Path) -> None:
    assert f"{ZIP} is not there" in switch(session)["why"]
    assert not (root / "metadata").exists()


def test_metadata_is_exchanged_as_a_whole(session: Session, root: Path) -> None:
    (root / ".metadata.new/ota/old").mkdir(parents=True)  # a switch that was killed
    (root / ".metadata.new/ota/old/old-testing").touch()
    switch(session, files={LINE: "1 1 16\n", "ota/shiba/shiba-testing": "1 1 16\n"}, promised=[])
    switch(session, commit="c2", files={LINE: "2 2 16\n"}, promised=[])
    metadata = root / "metadata"
    assert sorted(str(one.relative_to(metadata)) for one in metadata.rglob("*") if one.is_file()) == [".commit", LINE]
    assert (metadata / ".commit").read_text() == "c2\n"


def test_a_second_publisher_waits_for_the_end_of_the_first(session: Session, root: Path) -> None:
    second = Session(root)
    assert second.refused("lock") == "somebody publishes there now"
    assert second.refused("begin", manifest=manifest()) == "only who has the lock may do that"
    assert second.ok("status")["begun"] is None
    session.ok("begin", manifest=manifest())
    session.kill()
    assert second.ok("lock")["begun"]["who"] == "alice"
    why = second.refused("begin", manifest=manifest(id="p2"))
    assert why == "p1 of alice, begun today, was neither finished nor abandoned"
    second.ok("abandon", needed=[])
    second.ok("begin", manifest=manifest(id="p2"))
    second.end()


def test_what_came_before_a_kill_is_known_after_it(session: Session, root: Path) -> None:
    session.ok("begin", manifest=manifest())
    (root / "incoming/p1/files" / ZIP).write_bytes(CONTENT[ZIP][:100])
    session.kill()
    second = Session(root)
    second.ok("lock")
    assert second.ok("begin", manifest=manifest()) == {"placed": [], "came": {ZIP: 100}, "missing": [SUM]}
    second.end()


@pytest.mark.parametrize("step", ["link", "unlink", "fsync"])
def test_a_kill_while_files_are_placed_is_gone_on_from(root: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step of its own, one after the other."""

    class Killed(BaseException):
        pass

    for number in range(20):
        server = on_server.Server(root)
        server.lock()
        server.begin(manifest())
        for path, content in CONTENT.items():
            if not (root / "public" / path).exists():
                (root / "incoming/p1/files" / path).write_bytes(content)
        assert server.verify(lambda _: None) == {"wrong": {}}
        left = [number]
        real = getattr(os, step) if step != "unlink" else Path.unlink

        def dying(*arguments: Any, real: Any = real, left: list[int] = left, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Path if step == "unlink" else os, step, dying)
            try:
                server.place()
            except Killed:
                assert number < 19
                continue
            finally:
                assert server.held is not None
                os.close(server.held)  # as the end of the process does
        break
    assert {path: (root / "public" / path).read_bytes() for path in CONTENT} == CONTENT


def test_what_is_abandoned_leaves_what_was_there_before(session: Session, root: Path) -> None:
    (root / "public" / ZIP).parent.mkdir(parents=True)
    (root / "public" / ZIP).write_bytes(CONTENT[ZIP])
    session.ok("begin", manifest=manifest())
    (root / "incoming/p1/files" / SUM).write_bytes(CONTENT[SUM])
    session.ok("verify")
    session.ok("place")
    assert session.ok("begin", manifest=manifest())["placed"] == [ZIP, SUM]
    assert session.ok("abandon", needed=[])["gone"] == [SUM]
    assert (root / "public" / ZIP).exists()
    assert session.refused("abandon", needed=[]) == "nothing was begun there"


def test_what_is_published_is_not_abandoned(session: Session, root: Path) -> None:
    session.ok("begin", manifest=manifest())
    upload(root)
    session.ok("verify")
    session.ok("place")
    assert "is published: finish it" in session.refused("abandon", needed=[ZIP])
    assert (root / "public" / ZIP).exists()


def test_what_it_is_not_asked_for_is_refused(session: Session) -> None:
    assert session.refused("delete") == "unknown request 'delete'"
    for do in ("verify", "place", "close"):
        assert session.refused(do, done={}) == "nothing was begun there"
