"""The second copy: copies end, whatever stops them; nobody who may add can take away; what goes wrong there is told."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backup import control
from backup.custody import ADMIN
from backup.data_set import Kind
from backup.reach import reach, state
from backup.restic_process import ResticError
from backup.store import COPY
from inventories.inventory import load_site
from lab import storage
from lab.s3 import S3
from tests.restics import restic
from tests.saved_site import DATA, REPOSITORY_OF_IT, SET, Saved, saved_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    made = saved_site(tmp_path_factory.mktemp("copy"))
    for site in made:
        site.save_first()
        yield site


def objects(saved: Saved, kind: str = "data") -> list[Path]:
    """What the storage holds of the one repository's kind of file, on its disk, where what was removed is empty."""
    folder = saved.lab.root / "storage/data" / storage.BUCKET / DATA.replace(":", "/") / kind
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]


def packs(saved: Saved) -> set[str]:
    return {path.name for path in objects(saved)}


def name(process: str) -> str:
    """The program that a process runs; empty once it has ended."""
    with contextlib.suppress(OSError):
        return Path(Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode()).name
    return ""


@contextlib.contextmanager
def copying(saved: Saved) -> Iterator["subprocess.Popen[str]"]:
    """A copy of a backup's 60 MB that is under way, over a line of 20 MB/s: some of it is there, and not all, for a
    while; nothing else waits for it."""
    saved.must("copy")
    before = packs(saved)
    saved.save_more(f"more-{len(before)}", 60)
    slow = saved.folder / "slow-restic"
    slow.write_text(f'#!/bin/sh\nexec {restic()} --limit-upload 20000 "$@"\n')
    slow.chmod(0o755)
    with saved.begin("copy", program=str(slow)) as running:
        until("a first pack", lambda: packs(saved) - before or running.poll() is not None)
        assert running.poll() is None, running.communicate()
        yield running


def s3(saved: Saved, user: str) -> S3:
    keys, ca = storage.keys(saved.lab), load_site(saved.inventory).files / "copy.pem"
    return S3(storage.endpoint(saved.lab), keys[f"{user}_access_key"], keys[f"{user}_secret_key"], ca)


def test_a_copy_is_whole_and_another_one_copies_nothing(saved: Saved) -> None:
    assert saved.must("copy").strip() == f"{DATA}: 1 of 1 snapshot copied"
    before = packs(saved)
    assert before
    assert saved.must("copy").strip() == f"{DATA}: nothing to copy"
    assert packs(saved) == before
    said = saved.must("verify")
    assert f"{DATA} in the vault: part" in said
    assert f"{DATA} in the second copy: part" in said
    assert saved.status() == (0, [])


def test_a_killed_copy_is_completed_by_the_next(saved: Saved) -> None:
    with copying(saved) as running:
        listed = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True, check=True)
        children = listed.stdout.split()
        begun = [name(child) for child in children]
        assert sorted(begun) == [Path(restic()).name, "ssh"]
        running.kill()
        until(
            "neither restic nor a forwarding is left",
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in children),
        )
    assert saved.must("copy").strip() == f"{DATA}: 1 of 1 snapshot copied"
    saved.must("verify", "--all")
    assert saved.status() == (0, [])


@pytest.mark.full
def test_a_server_that_hangs_is_waited_for(saved: Saved) -> None:
    with copying(saved) as running:
        storage.pause(saved.lab, paused=True)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(3)
        storage.pause(saved.lab, paused=False)
        out, err = running.communicate()
    assert (running.returncode, out.strip()) == (0, f"{DATA}: 1 of 1 snapshot copied"), err


@pytest.mark.full
def test_a_server_that_goes_away_and_comes_back_is_told_or_waited_for(saved: Saved) -> None:
    with copying(saved) as running:
        storage.stop(saved.lab)
        down = saved.mainstay("copy")
        code, findings = saved.status()
        storage.start(saved.lab)
        out, err = running.communicate()
    assert down.returncode == 3
    assert "the second copy at https://" in down.stderr
    assert code == Kind.COPY_BEHIND.exit_code, findings
    assert (running.returncode, out.strip()) == (0, f"{DATA}: 1 of 1 snapshot copied"), err
    saved.must("verify", "--all")
    assert saved.status() == (0, [])


def test_the_control_sides_key_takes_nothing_away(saved: Saved) -> None:
    """Nor does the admins' take away a version: what was overwritten or removed is still there."""
    adds, removes = s3(saved, "copy"), s3(saved, "copy_admin")
    pack = objects(saved)[0]
    key = f"/{storage.BUCKET}/{pack.relative_to(saved.lab.root / 'storage/data' / storage.BUCKET)}"
    content = pack.read_bytes()
    for target in (key, f"/{storage.BUCKET}/release-1/release/config", f"/{storage.BUCKET}"):
        assert adds.ask("DELETE", target).status_code == 403
    assert adds.ask("DELETE", f"/{storage.BUCKET}", {"policy": ""}).status_code == 403
    assert adds.ask("PUT", f"/{storage.BUCKET}", {"policy": ""}, b"{}").status_code == 403
    suspend = b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Suspended</Status>'
    suspended = adds.ask("PUT", f"/{storage.BUCKET}", {"versioning": ""}, suspend + b"</VersioningConfiguration>")
    assert suspended.status_code == 403

    assert adds.ask("PUT", key, body=b"rubbish").status_code == 200
    prefix = key.removeprefix(f"/{storage.BUCKET}/")
    listed = removes.ask("GET", f"/{storage.BUCKET}", {"versions": "", "prefix": prefix}).text
    versions = re.findall("<VersionId>(.*?)</VersionId>", listed)
    for version in versions:
        for one in (adds, removes):
            assert one.ask("DELETE", key, {"versionId": version}).status_code == 403
    was = [removes.ask("GET", key, {"versionId": version}).content for version in versions]
    assert was == [b"rubbish", content]
    assert removes.ask("PUT", key, body=content).status_code == 200


@pytest.mark.full
def test_only_an_admin_thins_it_out_and_what_went_is_not_copied_again(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINSTAY_RESTIC", restic())
    saved.save_more("thin", 1)
    saved.must("copy")
    saved.must("verify")
    assert "the second copy: release-1:release: keeps" in saved.must("retain")
    own = state(load_site(saved.inventory)) / "release-1/release.control.jsonl"
    done = [json.loads(line) for line in own.read_text().splitlines() if '"retain"' in line]
    assert [(one["store"], one["outcome"]) for one in done] == [
        (store, outcome) for store in ("vault", "copy") for outcome in ("started", "ok")
    ]
    with reach(load_site(saved.inventory)) as way, way.store(COPY) as adds, way.store(COPY, ADMIN) as removes:
        there = adds.restic(SET).snapshots()
        with pytest.raises(ResticError):
            adds.restic(SET).forget([there[0].id])
        assert adds.restic(SET).snapshots() == there
        planned = control.plan_retention(removes, SET, 1.0)
        oldest = replace(planned.verdicts[0], keep=False)
        control.retain(removes, SET, replace(planned, verdicts=(oldest, *planned.verdicts[1:])), print)
        assert adds.restic(SET).snapshots() == there[1:]
    assert saved.must("copy").strip() == f"{DATA}: nothing to copy"
    assert saved.status() == (0, [])


@pytest.fixture
def a_pack(saved: Saved) -> Iterator[Path]:
    """The largest pack of the second copy, put back afterwards; none that a killed copy or server left, which nothing
    needs. Its lock is left too: it adds, and waits for nobody; `prune` would."""
    saved.must("restic", "--copy", DATA, "unlock")
    saved.must("restic", "--copy", DATA, "prune")
    needed = saved.must("restic", "--copy", DATA, "list", "packs").split()
    pack = max((path for path in objects(saved) if path.name in needed), key=lambda path: path.stat().st_size)
    content = pack.read_bytes()
    yield pack
    with pack.open("r+b") as file:
        file.write(content)
    saved.must("verify", "--all")
    assert saved.status() == (0, [])


def test_damage_there_is_found_and_named_as_the_second_copys(saved: Saved, a_pack: Path) -> None:
    with a_pack.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    verified = saved.mainstay("verify", "--all")
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert f"{DATA} in the vault: part 1 of 1: sound" in verified.stdout
    assert f"{DATA} in the second copy: part 1 of 1: DAMAGED" in verified.stdout
    assert a_pack.name in verified.stdout
    assert "hits /public" in verified.stdout
    code, findings = saved.status()
    assert code == Kind.DAMAGED.exit_code
    assert [one["what"].startswith("the second copy: ") for one in findings] == [True]


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param('find . -path "./data/*" -type f -delete', id="packs"),
        pytest.param(
            "mv snapshots gone; mkdir snapshots; chown vault: snapshots", id="snapshots", marks=pytest.mark.full
        ),
        pytest.param("rm -r config data index keys snapshots", id="repository", marks=pytest.mark.full),
    ],
)
def test_what_the_vault_cannot_give_comes_from_the_second_copy(saved: Saved, loss: str) -> None:
    name = f"from-copy-{len(loss)}"
    saved.root("vault-1", f"cp -a {REPOSITORY_OF_IT} /srv/vault/kept; cd {REPOSITORY_OF_IT}; {loss}")
    try:
        back, told = saved.restored(name)
    finally:
        saved.root("vault-1", f"rm -r {REPOSITORY_OF_IT}; mv /srv/vault/kept {REPOSITORY_OF_IT}")
    assert back == saved.hashes()
    assert "from the second copy" in told
    assert "the vault" in told
