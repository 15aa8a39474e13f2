"""What a drill proves of a control host: each check passes on a good copy, and fails on what it is there for."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup import collected
from backup.agent import refs
from backup.drills.checks import CheckFailed, File, NotJudged
from backup.ledger import append
from inventories.keys import new_age, new_ssh, public_age, public_ssh
from roles.control import restored as checks
from roles.control.drill import DRILL
from roles.control.settings import Settings
from tests.unit.ledgers import at, entry
from tests.unit.restored_copy import Copy, failure, git, listing, must_be_found, plant, restored, run

CLONE = Path(__file__).parents[2]
FAULTS = [one.name for one in DRILL.faults]
SETTINGS = Settings(mirrors={"code": "https://example.org/code.git"})
LEDGER = "ledgers/release-1/release.jsonl"
ZONE = {
    "domain": {"domain": "example.org"},
    "soa": {"nsprimary": "ns1.example.org", "email": "admins@example.org"},
    "records": [{"type": "NS", "name": ""}, {"type": "A", "name": "release"}, {"type": "A", "name": ""}],
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a backup saved: ledgers as they were collected, a mirror with its manifest of refs, a zone."""
    root = tmp_path_factory.mktemp("control")
    own = root.parent / "control-ledger.jsonl"
    for hour in range(6):
        append(own, entry(hour))
    collected.collect(root / "ledgers", "release-1", "release", own.read_bytes().splitlines(), at(7))
    append(own, entry(8))
    collected.collect(root / "ledgers", "release-1", "release", own.read_bytes().splitlines(), at(9))
    work = root.parent / "control-work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main", ".")
    (work / "file").write_bytes(os.urandom(20_000))
    git(work, "add", ".")
    git(work, "commit", "-qm", "one")
    git(work, "tag", "v1")
    (root / "mirrors").mkdir()
    git(work, "clone", "-q", "--bare", ".", str(root / "mirrors/code.git"))
    git(root / "mirrors/code.git", "repack", "-adq")
    (root / "zones").mkdir()
    (root / "zones/example.org.json").write_text(json.dumps(ZONE))
    refs.write(root, ("ledgers", "mirrors", "zones"))
    return root


@pytest.fixture(scope="module")
def listed(pristine: Path) -> list[File]:
    return listing(pristine)


@pytest.fixture
def copy(pristine: Path, listed: list[File], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copy]:
    """Restored as the agent does it, with the software, the keys and the inventory that a deploy puts there."""
    holds, software, command = tmp_path / "holds", tmp_path / "software", tmp_path / "mainstay"
    (software / "inventories").mkdir(parents=True)
    for file in (CLONE / "inventories").glob("*.py"):
        (software / "inventories" / file.name).symlink_to(file)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    (software / "packages").symlink_to(packages)
    holds.mkdir()
    age, ssh = new_age(), new_ssh()
    (holds / "age_key").write_text(f"{age}\n")
    (holds / "control.age.pub").write_text(f"{public_age(age)}\n")
    (holds / "ssh_key").write_text(ssh)
    (tmp_path / "control_keys").write_text(f'restrict,command="x" {public_ssh(ssh)} control-1\n')
    command.write_text("#!/bin/sh\necho status verify restore\n")
    command.chmod(0o755)
    monkeypatch.setattr(checks, "HOLDS", str(holds))
    monkeypatch.setattr(checks, "SOFTWARE", str(software))
    monkeypatch.setattr(checks, "MAINSTAY", str(command))
    monkeypatch.setattr(checks, "ACCOUNT_KEYS", str(tmp_path / "control_keys"))
    with restored(tmp_path, pristine, SETTINGS, monkeypatch, listed) as made:
        refs.install(made.folder)
        made.record = tmp_path / "record"
        shutil.copytree(pristine / "ledgers", made.record)
        yield made


def test_every_check_passes_on_a_good_copy_and_says_what_it_saw(copy: Copy) -> None:
    for one in DRILL.checks:
        assert one.run(copy).told, one.name


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_by_the_check_that_is_there_for_it(copy: Copy, name: str) -> None:
    must_be_found(DRILL, name, copy)


def test_what_a_restore_of_refs_writes_is_not_held_against_the_list(copy: Copy) -> None:
    seen = run(DRILL, "files", copy)
    assert seen.covered == seen.of
    copy.file("mirrors/code.git/config").unlink()
    assert failure(DRILL, "files", copy) == "1 path missing: mirrors/code.git/config"


def test_a_line_that_was_changed_breaks_its_chain(copy: Copy) -> None:
    content = copy.file(LEDGER).read_bytes()
    copy.file(LEDGER).write_bytes(content.replace(b'"files": 100', b'"files": 101', 1))
    assert f"{LEDGER}: line 2: does not continue the line before it" in failure(DRILL, "ledgers", copy)


def test_a_ledger_that_is_whole_and_another_is_held_against_the_record(copy: Copy) -> None:
    copy.file(LEDGER).unlink()
    for hour in range(6):
        append(copy.file(LEDGER), entry(hour, files=7))
    said = failure(DRILL, "ledgers", copy)
    assert f"{LEDGER}: line 1 is not what the record here" in said
    assert "is not what was collected" in said


def test_the_record_here_may_be_newer_or_older(copy: Copy) -> None:
    own = copy.record / "release-1/release.jsonl"
    append(own, entry(20))
    run(DRILL, "ledgers", copy)
    own.write_bytes(b"".join(own.read_bytes().splitlines(keepends=True)[:2]))
    run(DRILL, "ledgers", copy)


def test_without_a_record_here_nothing_is_judged(copy: Copy) -> None:
    shutil.rmtree(copy.record)
    with pytest.raises(NotJudged, match="none of them to compare with"):
        run(DRILL, "ledgers", copy)


def test_half_a_line_and_a_missing_ledger_are_named(copy: Copy) -> None:
    with copy.file(LEDGER).open("ab") as file:
        file.write(b"{")
    assert f"{LEDGER}: its last line has no end" in failure(DRILL, "ledgers", copy)
    copy.file(LEDGER).unlink()
    assert failure(DRILL, "ledgers", copy) == f"1 ledger missing: {LEDGER}"


def test_a_ref_that_is_another_or_gone_is_named(copy: Copy) -> None:
    mirror = copy.file("mirrors/code.git")
    git(mirror, "update-ref", "-d", "refs/tags/v1")
    git(mirror, "symbolic-ref", "HEAD", "refs/heads/other")
    said = failure(DRILL, "mirrors", copy)
    assert "mirrors/code.git: refs/tags/v1 is nothing, saved as " in said
    assert "mirrors/code.git: HEAD is ref: refs/heads/other, saved as ref: refs/heads/main" in said


def test_a_mirror_without_objects_or_that_is_gone_is_named(copy: Copy) -> None:
    for pack in copy.file("mirrors/code.git/objects/pack").iterdir():
        pack.unlink()
    assert "mirrors/code.git: " in failure(DRILL, "mirrors", copy)
    shutil.rmtree(copy.file("mirrors/code.git"))
    assert failure(DRILL, "mirrors", copy) == "mirrors/code.git: is not there"


def test_a_mirror_that_the_snapshot_has_not_yet_is_told(copy: Copy) -> None:
    copy.settings = Settings(mirrors={"code": "https://example.org/c.git", "new": "https://example.org/n.git"})
    assert run(DRILL, "mirrors", copy).told[1] == "not yet in the snapshot: new"


def test_without_a_list_of_refs_mirrors_are_not_judged(copy: Copy) -> None:
    copy.saved = [file for file in copy.saved if file.path != refs.MANIFEST]
    with pytest.raises(NotJudged, match="which says what refs there were"):
        run(DRILL, "mirrors", copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"soa": {}}, "has no SOA, or no NS"),
        ({"records": [{"type": "A", "name": "release"}]}, "has no SOA, or no NS"),
        ({"records": [{"type": "NS", "name": ""}]}, "1 name of the fleet without an address: release.example.org"),
        ({"domain": {"domain": "other.org"}}, "zones/example.org.json: is the zone other.org"),
        ({"records": 3}, "is no zone"),
    ],
    ids=str,
)
def test_a_zone_that_is_none_is_named(copy: Copy, change: dict[str, object], said: str) -> None:
    copy.file("zones/example.org.json").write_text(json.dumps(ZONE | change))
    assert said in failure(DRILL, "zones", copy)


def test_without_zones_there_is_nothing_to_judge(copy: Copy) -> None:
    copy.saved = [file for file in copy.saved if not file.path.startswith("zones/")]
    with pytest.raises(NotJudged, match="no zone"):
        run(DRILL, "zones", copy)


def test_software_that_does_not_start_is_told_with_its_words(copy: Copy) -> None:
    command = Path(checks.MAINSTAY)
    command.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    assert "no such module" in failure(DRILL, "software", copy)
    command.write_text("#!/bin/sh\necho usage\n")
    assert "does not know status, verify, restore" in failure(DRILL, "software", copy)


def test_another_key_is_named_and_never_shown(copy: Copy) -> None:
    plant(DRILL, "wrong key", copy)
    plant(DRILL, "wrong SSH key", copy)
    said = failure(DRILL, "keys", copy)
    assert "age_key: is not the key that secrets are encrypted to" in said
    assert "ssh_key: is not the key that hosts let in" in said
    assert "AGE-SECRET" not in said
    Path(checks.HOLDS, "age_key").unlink()
    with pytest.raises(CheckFailed, match="age_key"):
        run(DRILL, "keys", copy)
