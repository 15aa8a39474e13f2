"""The wrapper of restic tells failures, damage, locks and interruptions by what they mean."""

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from backup import restic_process
from backup.checking import is_removed_from
from backup.restic import Restic
from backup.restic_process import Interrupted, Locked, NoRepository, Repository, ResticError, WrongPassword, run
from backup.restic_results import Progress, Unreadable
from tests.e2e.repositories import (
    PASSWORD,
    SINCE_017,
    a_pack_of,
    every,
    held,
    made,
    running,
    save,
    small_disk,
    source,
    unmade,
    what_a_shell_left,
)
from tests.rest_server import rest_server
from tests.restics import USED, VERSIONS, by_version, restic
from tests.waiting import until

__all__ = ["made", "source", "unmade", "what_a_shell_left"]


@every(*VERSIONS)
def test_failures_are_told_by_their_meaning(unmade: Restic, tmp_path: Path) -> None:
    with pytest.raises(NoRepository):
        unmade.snapshots()
    unmade.init()
    with pytest.raises(ResticError, match="already"):
        unmade.init()
    wrong = replace(unmade, repository=replace(unmade.repository, password="wrong", cache=tmp_path / "other"))
    with pytest.raises(WrongPassword):
        wrong.snapshots()


class Refusing(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(401)

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@every(*VERSIONS)
def test_a_refused_credential_is_not_a_missing_repository(unmade: Restic) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"rest:http://alice:secret@127.0.0.1:{server.server_port}/"
        refused = replace(unmade, repository=replace(unmade.repository, url=url))
        with pytest.raises(ResticError, match="401") as failed:
            refused.snapshots()
        server.shutdown()
    assert not isinstance(failed.value, NoRepository)


@every(*VERSIONS)
def test_damage_is_found_and_named(made: Restic, source: Path) -> None:
    snapshot = save(made, source)
    assert made.check((1, 1)).errors == ()
    pack = a_pack_of(made)
    content = bytearray(pack.read_bytes())
    content[1000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    assert made.check().errors == ()
    damaged = made.check((1, 1))
    assert damaged.errors
    assert damaged.packs == (pack.name,)
    assert {(hit.snapshot, hit.path) for hit in made.hits(damaged.packs)} >= {(snapshot, "/large")}
    with pack.open("r+b") as half:
        half.truncate(1000)
    assert made.check((1, 1)).packs == (pack.name,)
    assert {(hit.snapshot, hit.path) for hit in made.hits([pack.name])} >= {(snapshot, "/large")}
    pack.unlink()
    assert made.check().packs == (pack.name,)


@every(*VERSIONS)
def test_a_damaged_snapshot_is_not_passed_over(made: Restic, source: Path) -> None:
    snapshots = [save(made, source) for _ in range(3)]
    for number, content in enumerate((b"", b"rubbish")):
        file = Path(made.repository.url, "snapshots", snapshots[number])
        file.chmod(0o600)
        file.write_bytes(content)
        assert list(made.repository.cache.rglob(snapshots[number])), "restic keeps it as it was"
    with pytest.raises(Unreadable) as damaged:
        made.snapshots()
    assert set(damaged.value.ids) == set(snapshots[:2])
    assert [one.id for one in made.readable()[0]] == snapshots[2:]
    assert snapshots[0][:8] in str(damaged.value)
    assert any(snapshots[0][:8] in error for error in made.check().errors)


@every(*VERSIONS)
def test_a_check_that_cannot_run_is_no_finding(made: Restic, tmp_path: Path) -> None:
    wrong = replace(made, repository=replace(made.repository, password="wrong", cache=tmp_path / "other"))
    with pytest.raises(WrongPassword):
        wrong.check()


@every(*VERSIONS)
def test_a_restore_that_fails_says_of_what(made: Restic, source: Path, tmp_path: Path) -> None:
    """restic's last word is how many errors there were."""
    snapshot = save(made, source)
    with (
        small_disk(tmp_path / "small", 1) as disk,
        pytest.raises(ResticError, match=r"large: .*no space left on device"),
    ):
        made.restore(snapshot, disk)


@every(*VERSIONS)
def test_breaking_off_leaves_no_lock_and_no_process(made: Restic, source: Path) -> None:
    (source / "huge").write_bytes(os.urandom(200_000_000))

    def break_off(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.backup(source, host="alice", tags=["data"], progress=break_off)
    assert not list(Path(made.repository.url, "locks").iterdir())
    assert made.snapshots() == []


@pytest.mark.timeout(60)
@every(USED)
def test_who_is_impatient_does_not_wait_for_ever(made: Restic, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C, while restic does not hear the first."""
    monkeypatch.setattr(restic_process, "INTERRUPT_S", 2)
    (source / "huge").write_bytes(os.urandom(200_000_000))

    def again(child: int) -> None:
        pending = f"/proc/{child}/status"
        until("the first", lambda: re.search(r"ShdPnd:\s+\w*[2367abef]$", Path(pending).read_text(), re.MULTILINE))
        os.kill(os.getpid(), signal.SIGINT)

    def stop(progress: Progress) -> None:
        [child] = running(made)
        os.kill(child, signal.SIGSTOP)
        until("it has stopped", lambda: Path(f"/proc/{child}/stat").read_text().split()[2] == "T")
        threading.Thread(target=again, args=(child,)).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.backup(source, host="alice", tags=["data"], progress=stop)


@every(*VERSIONS)
def test_an_interruption_from_outside_is_told_apart(made: Restic, source: Path) -> None:
    (source / "huge").write_bytes(os.urandom(200_000_000))

    def interrupt(progress: Progress) -> None:
        for child in running(made):
            os.kill(child, signal.SIGINT)

    with pytest.raises(Interrupted):
        made.backup(source, host="alice", tags=["data"], progress=interrupt)


@every(*VERSIONS)
def test_a_lock_is_told_and_a_stale_one_removed(made: Restic, source: Path) -> None:
    save(made, source)
    with a_run_that_is_killed(made, source), pytest.raises(Locked):
        made.prune()
    made.unlock()
    made.prune()


@contextmanager
def a_run_that_is_killed(made: Restic, source: Path) -> Iterator[None]:
    (source / "huge").write_bytes(os.urandom(200_000_000))
    (source.parent / "url").write_text(made.repository.url)
    (source.parent / "password").write_text(made.repository.password)
    where = {"RESTIC_REPOSITORY_FILE": "url", "RESTIC_PASSWORD_FILE": "password"}
    run = subprocess.Popen(
        [made.program, "backup", "-q", "--limit-upload=100", "--no-cache", source],
        env={name: str(source.parent / file) for name, file in where.items()},
    )
    until("the run takes its lock", lambda: list(Path(made.repository.url, "locks").iterdir()))
    yield
    run.kill()
    run.wait()


@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_it_is_seen_that_somebody_removes_data(tmp_path: Path, source: Path, version: str) -> None:
    """And not that somebody saves."""
    with rest_server(tmp_path / "served") as gate:
        url = f"rest:http://127.0.0.1:{gate.port}/"
        made = Restic(Repository(url, PASSWORD, cache=tmp_path / "cache"), restic(version))
        made.init()
        save(made, source)
        looker = replace(made, repository=replace(made.repository, url=f"rest:http://127.0.0.1:{gate.server_port}/"))
        for work, is_removal in ((made.prune, True), (lambda: save(made, source), False)):
            with held(gate, work):
                assert is_removed_from(looker) is is_removal
            assert not is_removed_from(looker)


@pytest.mark.parametrize("version", by_version(*SINCE_017))
def test_a_snapshot_that_restic_did_not_write_keeps_none_from_being_listed(
    tmp_path: Path, source: Path, version: str
) -> None:
    """A host that somebody broke into can add one: it has the password."""
    made = Restic(Repository(str(tmp_path / "repository"), PASSWORD, cache=tmp_path / "cache"), restic(version))
    made.init()
    own = save(made, source)
    like = asked(made, "snapshot", own)
    planted = {
        plant(made, like | change)
        for change in (
            {"paths": None, "tree": None, "hostname": "", "tags": None, "summary": None, "original": None},
            {"time": "0001-01-01T00:00:00+23:59"},
            {"time": "9999-12-31T23:59:59.999999999-12:00"},
        )
    }
    found, damaged = made.readable()
    assert {one.id for one in found} == {own, *planted}
    assert damaged == []
    made.forget(sorted(planted))
    assert [one.id for one in made.snapshots()] == [own]


def asked(made: Restic, *words: str) -> dict[str, Any]:
    done = run(made.program, made.repository, "cat", *words)
    found: dict[str, Any] = done.messages[0] if done.messages else json.loads("".join(done.plain))
    return found


def plant(made: Restic, snapshot: dict[str, Any]) -> str:
    """Puts a snapshot into a repository in a folder, and returns its id.

    Format: https://restic.readthedocs.io/en/stable/100_references.html#keys-encryption-and-mac
    """
    keys = asked(made, "masterkey")
    mask, mac = (bytearray(base64.b64decode(keys["mac"][name])) for name in "rk")
    for number in range(3, 16, 4):
        mask[number] &= 15
    for number in range(4, 16, 4):
        mask[number] &= 252
    start = os.urandom(16)
    crypt = Cipher(AES(base64.b64decode(keys["encrypt"])), CTR(start)).encryptor()
    text = crypt.update(json.dumps(snapshot).encode()) + crypt.finalize()
    tag = Poly1305.generate_tag(bytes(mask) + Cipher(AES(bytes(mac)), ECB()).encryptor().update(start), text)
    content = start + text + tag
    name = hashlib.sha256(content).hexdigest()
    Path(made.repository.url, "snapshots", name).write_bytes(content)
    return name


@every(USED)
def test_forgetting_looks_whether_it_happened(made: Restic, source: Path) -> None:
    first, second = save(made, source), save(made, source)
    made.forget([first])
    assert [snapshot.id for snapshot in made.snapshots()] == [second]
    snapshots = Path(made.repository.url, "snapshots")
    subprocess.run(["chattr", "+i", snapshots / second], check=True)
    try:
        with pytest.raises(ResticError, match="not removed"):
            made.forget([second])
    finally:
        subprocess.run(["chattr", "-i", snapshots / second], check=True)
