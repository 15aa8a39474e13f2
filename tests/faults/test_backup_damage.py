"""What befalls backups is told by `mainstay backup` with its own exit code, naming what is hit and what to do."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backup.data_set import Kind
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import load
from lab.converge import REPOSITORY, converge
from lab.sites import derive, only
from tests.labs import own_lab
from tests.restics import restic

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

DATA = "release-1:release"
REPOSITORY_OF_IT = "/srv/vault/repositories/release-1/release"


@dataclass(frozen=True)
class Saved:
    """A release server with an archive, a vault, and one backup."""

    inventory: Path
    folder: Path

    def mainstay(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(REPOSITORY / "bin/mainstay"), "backup", *words, "--inventory", str(self.inventory)]
        environment = os.environ | {"MAINSTAY_RESTIC": restic(), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def status(self) -> tuple[int, list[dict[str, Any]]]:
        """Exit code, and the findings of the one data set."""
        done = self.mainstay("status", "--json")
        (found,) = json.loads(done.stdout)["data_sets"]
        return done.returncode, found["findings"]

    def root(self, host: str, command: str) -> str:
        config = self.folder / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        words = ["ssh", "-F", str(config), host, f"sudo sh -ec '{command}'"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    folder = tmp_path_factory.mktemp("damage")

    def without_web(document: Any) -> None:
        only(document, "release-1", "vault-1")
        del document["settings"]["web"]

    with own_lab("damage") as config:
        made = Saved(derive(config, folder, without_web), folder)
        assert made.mainstay("keys").returncode == 0
        for deploy in ("provision", "site"):
            done = converge(made.inventory, deploy)
            assert done.ok, done.output
        load.content(load_site(made.inventory))
        yield made


def test_a_data_set_that_was_never_saved_is_told(saved: Saved) -> None:
    code, findings = saved.status()
    assert code == Kind.NEVER.exit_code
    assert "mainstay backup run" in findings[0]["to_do"]


def test_a_saved_one_is_well_and_comes_back_with_nothing_but_clone_key_and_vault(saved: Saved) -> None:
    ran = saved.mainstay("run", DATA)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert saved.mainstay("verify").returncode == 0
    assert saved.status() == (0, [])
    back = saved.folder / "back"
    restored = saved.mainstay("restore", DATA, "--to", str(back))
    assert restored.returncode == 0, restored.stderr
    hashes = "find public -type f -exec sha256sum {} + | sort"
    here = subprocess.run(["sh", "-c", hashes], cwd=back, capture_output=True, text=True, check=True)
    assert here.stdout.strip() == saved.root("release-1", f"cd /srv/release; {hashes}")


def test_one_file_comes_back(saved: Saved) -> None:
    wanted = "/public/ota/panther/panther-stable"
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
    ["printf X | dd of={} bs=1 seek=1000 conv=notrunc status=none", "truncate -s 1000 {}", "rm {}"],
    ids=["a bit", "the end", "all of it"],
)
def test_a_damaged_pack_is_found_and_names_the_files_it_hits(saved: Saved, a_pack: str, damage: str) -> None:
    saved.root("vault-1", damage.format(a_pack))
    verified = saved.mainstay("verify", "--all")
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert Path(a_pack).name in verified.stdout
    assert "hits /public/" in verified.stdout
    code, findings = saved.status()
    assert code == Kind.DAMAGED.exit_code, findings


def test_a_snapshot_that_went_is_missed(saved: Saved) -> None:
    gone = f"{REPOSITORY_OF_IT}/snapshots"
    saved.root("vault-1", f"mv {gone} {gone}.away; mkdir {gone}; chown vault: {gone}")
    code, findings = saved.status()
    assert code == Kind.GONE.exit_code, findings
    kept = saved.mainstay("retain")
    assert kept.returncode == 1
    assert "refused:" in kept.stdout
