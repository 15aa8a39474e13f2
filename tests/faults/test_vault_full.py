"""A vault without room: who is refused, what is lost (nothing), what goes on, and how room is made again."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from backup.custody import ADMIN, APPEND, CONTROL
from backup.restic_process import Repository
from tests.vault_site import OTHER, OWN, REPOSITORIES, ROOTED, VICTIM, Vault, named, vault_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
PACK = 8_000_000
JUNK = f"/{ROOTED}/junk"


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    yield from vault_site()


def room(vault: Vault) -> int:
    """Bytes that hosts may still write."""
    blocks, size = map(int, vault.root("stat -f -c '%a %S' /srv/vault").split())
    return blocks * size


def take(vault: Vault, left: int) -> None:
    """As hosts do it over months: nobody but their user writes, until so many bytes are left."""
    as_hosts = "setpriv --reuid vault --regid vault --clear-groups"
    filler = f"{REPOSITORIES}{JUNK}/{os.urandom(8).hex()}"
    vault.root(f"{as_hosts} mkdir -p {REPOSITORIES}{JUNK}; {as_hosts} fallocate -l {room(vault) - left} {filler}")


def upload(vault: Vault, size: int = PACK) -> int:
    """The status of a new pack of the rooted client."""
    content = os.urandom(size)
    return vault.ask("POST", f"{OWN}/data/{named(content)}", content).status


def must_restore(vault: Vault, listener: str, user: str) -> None:
    """The victim's first snapshot comes back, and its repository is whole."""
    seen = vault.repository(OTHER, listener, user)
    back = vault.folder / f"back-{len(list(vault.folder.iterdir()))}"
    seen.restore(seen.snapshots()[0].id, back)
    assert (back / "file").read_bytes() == (vault.folder / "source" / OTHER.strip("/") / "file").read_bytes()
    assert seen.check((1, 1)).errors == ()


def must_be_copied(vault: Vault) -> None:
    """As the control host does it, to a place that has room."""
    seen = vault.repository(OTHER, CONTROL, "control")
    place = Repository(str(vault.folder / "second"), "other", cache=vault.folder / "second-cache")
    second = replace(seen, repository=place)
    second.init(seen.repository)
    first = seen.snapshots()[0].id
    second.copy(seen.repository, [first])
    assert [one.original for one in second.snapshots()] == [first]


def test_a_full_quota_refuses_politely_and_what_an_admin_frees_can_be_used_at_once(vault: Vault) -> None:
    take(vault, left=5 * PACK)
    statuses = [upload(vault) for _ in range(8)]
    assert set(statuses) == {200, 507}
    assert statuses == sorted(statuses)
    assert vault.ask("GET", f"{OWN}/config").status == 200
    must_restore(vault, ADMIN, "admin")
    vault.repository(OWN, ADMIN, "admin").prune()
    source = vault.folder / "source" / OWN.strip("/")
    (source / "again").write_bytes(os.urandom(500_000))
    assert vault.repository(OWN).backup(source, host=ROOTED, tags=["data"]).snapshot
    must_restore(vault, CONTROL, "control")


def test_who_fills_the_disk_by_all_means_loses_nothing_of_others_and_leaves_admins_their_room(vault: Vault) -> None:
    before = vault.files(OTHER)
    take(vault, left=3 * PACK)
    # Nothing looks at the content of a repository's description: the largest hole there is.
    assert vault.ask("POST", f"{JUNK}2/?create=true").status == 200
    assert vault.ask("POST", f"{JUNK}2/config", os.urandom(4 * PACK)).status >= 400
    for size in (100_000, 1000, 1):
        while upload(vault, size) == 200:
            pass
    victims = os.urandom(1_000_000)
    target = f"{OTHER}/data/{named(victims)}"
    assert vault.outside().ask("POST", target, vault.login(VICTIM), victims).status == 507
    assert vault.files(OTHER) == before
    must_restore(vault, ADMIN, "admin")
    must_be_copied(vault)
    admin = vault.repository(OWN, ADMIN, "admin")
    admin.forget([admin.snapshots()[-1].id])
    admin.prune()
    assert vault.inside[ADMIN].ask("DELETE", f"{JUNK}2/config", vault.login("admin")).status == 200
    vault.root(f"rm -r {REPOSITORIES}{JUNK}*")
    assert vault.outside().ask("POST", target, vault.login(VICTIM), victims).status == 200
    must_restore(vault, APPEND, VICTIM)
