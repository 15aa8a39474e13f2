"""A vault without room: who is refused, what is lost (nothing), and how room is made again."""

import os
from collections.abc import Iterator

import pytest

from roles.vault.settings import ADMIN, APPEND, CONTROL
from tests.vault_site import OTHER, OWN, QUOTA, REPOSITORIES, ROOTED, VICTIM, Vault, named, vault_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    yield from vault_site(tmp_path_factory.mktemp("vault"))


def fill(vault: Vault) -> int:
    """Uploads until one is refused; its status."""
    for _ in range(2 * QUOTA // 8_000_000):
        content = os.urandom(8_000_000)
        status = vault.ask("POST", f"{OWN}/data/{named(content)}", content).status
        if status != 200:
            return status
    raise AssertionError("never full")


def must_restore(vault: Vault, listener: str, user: str) -> None:
    """The victim's first snapshot comes back, and its repository is whole."""
    seen = vault.repository(OTHER, listener, user)
    back = vault.folder / f"back-{listener}-{len(list(vault.folder.iterdir()))}"
    seen.restore(seen.snapshots()[0].id, back)
    assert (back / "file").read_bytes() == (vault.folder / "source" / OTHER.strip("/") / "file").read_bytes()
    assert seen.check((1, 1)).errors == ()


def remove_junk(vault: Vault) -> None:
    """As an admin does: prune removes what no snapshot needs."""
    admin = vault.repository(OWN, ADMIN, "admin")
    admin.prune()
    vault.root("systemctl start vault-recount.service")


def test_a_full_quota_refuses_politely_and_recovers(vault: Vault) -> None:
    assert fill(vault) == 507
    free = int(vault.root("stat -f -c %a /srv/vault").strip())
    assert free > 0
    must_restore(vault, ADMIN, "admin")
    vault.root("systemctl restart vault@append")
    assert fill(vault) == 507
    remove_junk(vault)
    source = vault.folder / "source" / OWN.strip("/")
    (source / "again").write_bytes(os.urandom(500_000))
    assert vault.repository(OWN).backup(source, host=ROOTED, tags=["data"]).snapshot
    must_restore(vault, CONTROL, "control")


def test_a_full_disk_loses_nothing_and_admins_have_room_to_mend_it(vault: Vault) -> None:
    before = vault.files(OTHER)
    # Of a repository's own description no quota is asked: this is how a client gets past it.
    assert vault.ask("POST", f"/{ROOTED}/junk/?create=true").status == 200
    assert vault.ask("POST", f"/{ROOTED}/junk/config", os.urandom(QUOTA + 10_000_000)).status == 200
    junk = f"{REPOSITORIES}/{ROOTED}/junk"
    vault.root(
        f"setpriv --reuid vault --clear-groups fallocate -l $(($(stat -f -c %a*%S /srv/vault))) {junk}/filler || true"
    )
    vault.root(f'setpriv --reuid vault --clear-groups sh -c "cat /dev/zero >{junk}/rest 2>/dev/null" || true')
    assert vault.root("stat -f -c %a /srv/vault").strip() == "0"
    assert vault.ask("POST", f"{OTHER}/data/{named(b'x')}", b"x").status == 401
    content = os.urandom(1_000_000)
    answer = vault.outside().ask("POST", f"{OTHER}/data/{named(content)}", vault.login(VICTIM), content)
    assert answer.status >= 400
    assert vault.files(OTHER) == before
    must_restore(vault, ADMIN, "admin")
    admin = vault.repository(OWN, ADMIN, "admin")
    admin.forget([admin.snapshots()[-1].id])
    admin.prune()
    assert vault.inside[ADMIN].ask("DELETE", f"/{ROOTED}/junk/config", vault.login("admin")).status == 200
    vault.root(f"rm -r {junk}; systemctl start vault-recount.service")
    assert vault.outside().ask("POST", f"{OTHER}/data/{named(content)}", vault.login(VICTIM), content).status == 200
    must_restore(vault, APPEND, VICTIM)
