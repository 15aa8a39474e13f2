"""The vault is lost with its volume: data comes back from the second copy, and a new vault by one command."""

from collections.abc import Iterator

import pytest

from backup.data_set import Kind
from inventories.inventory import load_site
from tests.saved_site import DATA, HOST, REPOSITORY_OF_IT, Saved, lose_the_vault, saved_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    for site in saved_site(tmp_path_factory.mktemp("lost")):
        site.save_first()
        site.save_more("second", 1)
        site.must("copy")
        site.must("verify")
        assert site.status() == (0, [])
        yield site


def address(saved: Saved) -> str:
    return load_site(saved.inventory).lock.hosts["vault-1"].ipv4


def asked_by_the_host(saved: Saved) -> str:
    """Where the release server's backups go."""
    [name, *_] = load_site(saved.inventory).fleet.hosts["vault-1"].dns
    return saved.root(HOST, f"getent ahostsv4 {name} || true")


def listed(saved: Saved) -> list[str]:
    return saved.root("vault-1", f"ls {REPOSITORY_OF_IT}/snapshots").split()


@pytest.mark.full
def test_a_vault_that_is_lost_for_good_is_survived(saved: Saved) -> None:
    was = address(saved)
    lose_the_vault(saved)
    code, findings = saved.status()
    assert code == Kind.UNLISTED.exit_code, findings
    assert "docs/runbooks/vault-lost.md" in findings[0]["to_do"]
    back, told = saved.restored("from-the-copy")
    assert back == saved.hashes()
    assert "the vault: vault-1: " in told
    assert "from the second copy" in told

    assert was in asked_by_the_host(saved), "it remembers the old address for as long as it may"
    saved.deploy("provision", "vault")
    assert address(saved) != was
    assert saved.must("rebuild").strip() == f"{DATA}: 2 of 2 snapshots copied"
    saved.must("verify", "--all")
    assert saved.status() == (0, [])

    until("the host finds the vault", lambda: address(saved) in asked_by_the_host(saved), timeout_s=180)
    agent = "/usr/local/lib/mainstay/backup.pyz"
    saved.root("release-1", f"{agent} restore release --to /root/back; diff -r /root/back/public /srv/release/public")
    saved.must("run", DATA)
    assert saved.status() == (0, [])
    assert saved.root("release-1", "systemctl start mainstay-backup-verify@release") == ""
    assert saved.restored("from-the-new-vault")[0] == saved.hashes()
    assert saved.must("copy").strip() == f"{DATA}: 1 of 1 snapshot copied"
    assert saved.must("copy").strip() == f"{DATA}: nothing to copy"
    assert saved.must("rebuild").strip() == f"{DATA}: nothing to copy"
    assert len(listed(saved)) == 3
    assert saved.status() == (0, [])


def test_a_vault_that_is_no_new_one_is_left_alone(saved: Saved) -> None:
    saved.save_more("third", 1)
    before = listed(saved)
    refused = saved.mainstay("rebuild")
    assert refused.returncode == 1
    assert "the vault holds 1 snapshot that the second copy lacks" in refused.stdout
    assert f"mainstay backup copy {DATA}" in refused.stdout
    assert listed(saved) == before


@pytest.mark.full
def test_the_snapshot_that_only_the_second_copy_has_is_found_by_the_vaults_id(saved: Saved) -> None:
    saved.must("copy")
    gone = saved.entries()[-1]["snapshot"]
    saved.root("vault-1", f"mv {REPOSITORY_OF_IT}/snapshots/{gone} /srv/vault/kept")
    try:
        told = saved.restored("one", "--snapshot", gone[:8])[1]
    finally:
        saved.root("vault-1", f"mv /srv/vault/kept {REPOSITORY_OF_IT}/snapshots/{gone}")
    assert "from the second copy" in told
