"""A throwaway host of another inventory restores what a site saved: from its vault, if need be in two goes; from S3.

What a cut link does to a restore is tried without hosts, too: tests/e2e/test_agent_restoring.py.
"""

import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud.converge import converge
from inventories.inventory import load_site
from inventories.secrets import Secrets
from lab.sites import derive, only
from tests.saved_site import DATA, HASHES, HOST, PLAN, Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

AGENT = "/usr/local/lib/mainstay/backup.pyz"
BROKEN_OFF_S = 150


@dataclass(frozen=True)
class Drill:
    """The site whose backups are restored, and the throwaway host."""

    saved: Saved
    host: Saved
    snapshot: str

    def restore_from(self, **source: Any) -> None:
        """Says so in the inventory, and deploys the role."""
        file = self.host.inventory.with_suffix(".toml")
        document: Any = tomlkit.parse(file.read_text())
        document["backup"] = {"restore_from": source}
        file.write_text(tomlkit.dumps(document))
        done = converge(self.host.inventory, "release")
        assert done.ok, done.output

    def restore_from_vault(self) -> None:
        (name,) = load_site(self.saved.inventory).fleet.hosts["vault-1"].dns
        self.restore_from(vault=name)

    def hashes(self, folder: str) -> str:
        return self.host.root(HOST, f"cd {folder}; {HASHES}")


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    folder = tmp_path_factory.mktemp("drill")
    for saved in saved_site(tmp_path_factory.mktemp("saved")):
        saved.save_first()
        saved.must("copy")
        host = Saved(_throwaway(saved, folder), folder, saved.lab)
        host.deploy("provision", "base")
        yield Drill(saved, host, saved.entries()[-1]["snapshot"])


def _throwaway(saved: Saved, folder: Path) -> Path:
    """One host, called as in production, with no vault and no control host; and what its folder has to hold."""
    theirs = load_site(saved.inventory)
    files = folder / "files"
    files.mkdir()
    for name in ("admins.toml", "id_ed25519", "id_ed25519.pub", "vault.pem", "copy.pem"):
        shutil.copy2(theirs.files / name, files)
    names = ("vultr_api_key", "vault_release_1", "backup_release_1_release", "copy_access_key", "copy_secret_key")
    public = " ".join((files / "id_ed25519.pub").read_text().split()[:2])
    Secrets.create(
        files / "secrets.age", {"lab": [public]}, {name: theirs.secrets[name].get_secret_value() for name in names}
    )

    def change(document: Any) -> None:
        only(document, HOST)
        del document["settings"]["web"], document["backup"], document["vpcs"]
        document["site"] |= {"name": "drill", "domain": "drill.example.org", "files": str(files)}
        document["hosts"][HOST] |= {"vpcs": [], "dns": ["release.drill.example.org"]}
        document["settings"]["release"]["certificate"] = {"challenge": "none"}

    return derive(saved.lab, folder, change)


def test_it_restores_from_the_vault_and_can_do_nothing_else_there(drill: Drill) -> None:
    drill.restore_from_vault()
    host = drill.host
    again = converge(host.inventory, "release")
    assert again.ok, again.output
    assert again.changed == ()
    assert not host.root(HOST, "systemctl list-unit-files --no-legend 'mainstay-backup*' || true")
    for command in ("run", "verify"):
        refused = host.ssh(HOST, f"{AGENT} {command} {PLAN}")
        assert refused.returncode == 2
        assert "this plan can only restore" in refused.stderr
    host.root(HOST, f"{AGENT} restore {PLAN} --to /srv/release/back --snapshot {drill.snapshot}")
    assert drill.hashes("/srv/release/back") == drill.saved.hashes()
    assert "restores only, saves nothing; last restore ok" in host.root(HOST, f"{AGENT} status")
    assert drill.saved.status()[0] == 0


@pytest.mark.full
def test_a_restore_whose_link_to_the_vault_is_cut_goes_on_where_it_was(drill: Drill) -> None:
    drill.restore_from_vault()
    drill.saved.save_more("more", 60)
    host, snapshot = drill.host, drill.saved.entries()[-1]["snapshot"]
    restore = f"{AGENT} restore {PLAN} --to /srv/release/cut --snapshot {snapshot}"
    # What comes from the vault is dropped once so much has arrived.
    rule = "tcp sport 8000 quota over 40 mbytes drop"
    chain = "{ type filter hook input priority -300; }"
    host.root(
        HOST, f"nft {shlex.quote(f'add table inet cut; add chain inet cut in {chain}; add rule inet cut in {rule}')}"
    )
    start = time.monotonic()
    broken = host.ssh(HOST, restore)
    took = time.monotonic() - start
    assert broken.returncode == 1, broken.stdout
    assert "given up: nothing was restored for 1 min, and the vault does not answer" in broken.stdout
    assert took < BROKEN_OFF_S
    assert host.root(HOST, "ls /srv/release/cut/public")
    host.root(HOST, "nft delete table inet cut")
    host.root(HOST, f"{restore} --resume")
    assert drill.hashes("/srv/release/cut") == drill.saved.hashes()
    assert "restores only, saves nothing; last restore ok" in host.root(HOST, f"{AGENT} status")
    drill.saved.root(HOST, "rm /srv/release/public/more")


def test_it_restores_from_the_second_copy_what_the_ledger_names(drill: Drill) -> None:
    copy = load_site(drill.saved.inventory).fleet.backup.copy_
    assert copy
    drill.restore_from(copy={"endpoint": copy.endpoint, "bucket": copy.bucket})
    said = drill.host.root(HOST, f"{AGENT} restore {PLAN} --to /srv/release/from-copy --snapshot {drill.snapshot}")
    assert f"restore of {DATA}: ok" in said
    assert drill.hashes("/srv/release/from-copy") == drill.saved.hashes()
