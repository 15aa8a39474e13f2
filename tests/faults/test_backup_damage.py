"""What befalls backups is told by `mainstay backup` with its own exit code, naming what is hit and what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.data_set import Kind
from inventories.inventory import load_site
from tests.saved_site import DATA, REPOSITORY_OF_IT, Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def saved(fresh: Saved) -> Saved:
    fresh.save_first()
    fresh.must("verify")
    return fresh


def test_a_data_set_that_was_never_saved_is_told(fresh: Saved) -> None:
    code, findings = fresh.status()
    assert code == Kind.NEVER.exit_code
    assert "mainstay backup run" in findings[0]["to_do"]


def test_a_saved_one_is_well_and_comes_back_with_nothing_but_clone_key_and_vault(saved: Saved) -> None:
    assert saved.status() == (0, [])
    back, told = saved.restored("back")
    assert back == saved.hashes()
    assert "from the vault" in told


def test_one_file_comes_back(saved: Saved) -> None:
    wanted = "/metadata/ota/panther/panther-stable"
    back = saved.folder / "one"
    assert saved.mainstay("restore", DATA, "--to", str(back), "--include", wanted).returncode == 0
    assert [path for path in back.rglob("*") if path.is_file()] == [back / wanted.lstrip("/")]
    again = saved.mainstay("restore", DATA, "--to", str(back))
    assert again.returncode == 2
    assert "is not an empty folder" in again.stderr


def test_a_vault_that_does_not_answer_is_told(saved: Saved) -> None:
    saved.root("vault-1", "systemctl stop vault@control.service")
    try:
        code, findings = saved.status()
    finally:
        saved.root("vault-1", "systemctl start vault@control.service")
    assert code == Kind.UNLISTED.exit_code, findings


def test_a_rewritten_ledger_is_disputed_and_what_was_collected_stays(saved: Saved) -> None:
    ledger = "/var/lib/mainstay/backup/release/ledger.jsonl"
    saved.root("release-1", f'cp {ledger} /root/ledger; sed -i "\\$ s/ok/failed/" {ledger}')
    try:
        code, findings = saved.status()
    finally:
        saved.root("release-1", f"cp /root/ledger {ledger}")
    assert code == Kind.DISPUTED.exit_code, findings
    collected = load_site(saved.inventory).files / "ledgers/release-1"
    assert '"ok"' in (collected / "release.jsonl").read_text().splitlines()[-1]
    (collected / "release.rejected.jsonl").unlink()
    assert saved.status() == (0, [])


@pytest.fixture
def a_pack(saved: Saved) -> Iterator[str]:
    """The path of the largest pack at the vault, which is put back afterwards."""
    largest = f'find {REPOSITORY_OF_IT}/data -type f -printf "%s %p\\n" | sort -n | tail -1 | cut -d" " -f2'
    pack = saved.root("vault-1", largest)
    saved.root("vault-1", f"cp -p {pack} /root/pack")
    yield pack
    saved.root("vault-1", f"cp -p /root/pack {pack}; chown vault: {pack}")
    assert saved.mainstay("verify", "--all").returncode == 0


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("printf %032d 0 | dd of={} bs=1 seek=1000 conv=notrunc status=none", id="some bytes"),
        pytest.param("truncate -s 1000 {}", id="the end", marks=pytest.mark.full),
        pytest.param("rm {}", id="all of it", marks=pytest.mark.full),
    ],
)
def test_a_damaged_pack_is_found_and_names_the_files_it_hits(saved: Saved, a_pack: str, damage: str) -> None:
    saved.root("vault-1", damage.format(a_pack))
    verified = saved.mainstay("verify", "--all")
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert Path(a_pack).name in verified.stdout
    assert "hits /public/" in verified.stdout
    code, findings = saved.status()
    assert code == Kind.DAMAGED.exit_code, findings


A_BIT = pytest.param(
    "printf %032d 0 | dd of={} bs=1 seek=40 conv=notrunc status=none", id="some bytes", marks=pytest.mark.full
)
THE_END = "truncate -s 30 {}"


@pytest.fixture
def a_file(saved: Saved, request: pytest.FixtureRequest) -> Iterator[str]:
    """The path of a file of the repository's folder that the parameter names; put back afterwards."""
    folder = f"{REPOSITORY_OF_IT}/{request.param}"
    file = f"{folder}/{saved.root('vault-1', f'ls -S {folder} | head -1')}"
    saved.root("vault-1", f"cp -p {file} /root/file")
    yield file
    saved.root("vault-1", f"cp -p /root/file {file}; chown vault: {file}")
    assert saved.mainstay("verify", "--all").returncode == 0
    assert saved.status() == (0, [])


@pytest.mark.parametrize(
    "damage",
    [A_BIT, pytest.param(THE_END, id="the end", marks=pytest.mark.full), pytest.param("rm {}", id="all of it")],
)
@pytest.mark.parametrize("a_file", ["index"], indirect=True)
def test_a_damaged_index_is_found_by_verification(saved: Saved, a_file: str, damage: str) -> None:
    saved.root("vault-1", damage.format(a_file))
    verified = saved.mainstay("verify", "--all")
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert "repair index" in verified.stdout
    assert ("hits all of snapshot" if damage.startswith("rm") else Path(a_file).name) in verified.stdout
    code, findings = saved.status()
    assert code == Kind.DAMAGED.exit_code, findings


@pytest.mark.parametrize("damage", [A_BIT, pytest.param(THE_END, id="the end")])
@pytest.mark.parametrize("a_file", ["snapshots"], indirect=True)
def test_a_damaged_snapshot_is_found_at_the_next_look(saved: Saved, a_file: str, damage: str) -> None:
    """Though restic has a cache here, with the file as it was."""
    cached = load_site(saved.inventory).files / "cache"
    assert list(cached.rglob(Path(a_file).name))
    saved.root("vault-1", damage.format(a_file))
    code, findings = saved.status()
    assert code == Kind.DAMAGED.exit_code, findings
    assert any(f"cannot be read: {Path(a_file).name[:8]}" in one["what"] for one in findings)
    assert saved.mainstay("retain").returncode == 1
    verified = saved.mainstay("verify", "--all")
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert Path(a_file).name[:8] in verified.stdout


def test_a_snapshot_that_went_is_missed(saved: Saved) -> None:
    gone = f"{REPOSITORY_OF_IT}/snapshots"
    saved.root("vault-1", f"mv {gone} {gone}.away; mkdir {gone}; chown vault: {gone}")
    code, findings = saved.status()
    assert code == Kind.GONE.exit_code, findings
    kept = saved.mainstay("retain")
    assert kept.returncode == 1
    assert "refused:" in kept.stdout
