"""What an admin answers for: passwords that are rotated, and snapshots that are vouched for.

Whatever happens on the way of a rotation, a password that works is in the secrets file, and the host can save.
"""

import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from backup import custody
from backup.custody import ADMIN
from backup.data_set import Kind
from backup.reach import reach
from backup.restic import Restic
from backup.restic_process import ResticError, WrongPassword
from backup.store import COPY, VAULT, Store
from cloud.converge import converge
from inventories.editing import Plain
from inventories.inventory import load_site
from tests.restics import restic
from tests.saved_site import DATA, HOST, PLAN, REPOSITORY_OF_IT, SET, Saved, saved_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    for made in saved_site(tmp_path_factory.mktemp("rotation")):
        made.save_first()
        made.must("copy", DATA)
        made.must("verify", DATA)
        yield made


def held(saved: Saved) -> dict[str, str]:
    """The secrets of the data set."""
    secrets = load_site(saved.inventory).secrets
    return {name: secrets[name].get_secret_value() for name in secrets if name.endswith(SET.secret)}


def keys(saved: Saved, password: str, store: str = VAULT) -> list[str]:
    """The repository's keys, when the password opens it."""
    with reach(load_site(saved.inventory)) as way, way.store(store, ADMIN) as there:
        return list(opened(there, password).keys())


def opened(store: Store, password: str = "") -> Restic:
    """With the password of the secrets file, unless another is given."""
    repository = store.repository(SET)
    return Restic(replace(repository, password=password or repository.password), restic())


def must_be_rotated(saved: Saved, old: str) -> None:
    """There is one password, which is another than before, and each store has one key, which it opens."""
    now = held(saved)
    assert list(now) == [SET.secret]
    assert now[SET.secret] != old
    for store in (VAULT, COPY):
        assert len(keys(saved, now[SET.secret], store)) == 1


def test_a_password_is_rotated_and_keys_that_nobody_knows_of_go(saved: Saved) -> None:
    old = held(saved)[SET.secret]
    with reach(load_site(saved.inventory)) as way, way.vault() as vault:
        opened(vault).add_key("of a host that was compromised")
    done = saved.mainstay("rotate", DATA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 other keys were removed" in done.stdout
    for password in (old, *held(saved).values()):
        assert password not in done.stdout + done.stderr
    must_be_rotated(saved, old)
    for store in (VAULT, COPY):
        with pytest.raises(WrongPassword):
            keys(saved, old, store)
    with pytest.raises(WrongPassword):
        keys(saved, "of a host that was compromised")
    saved.must("run", DATA)
    saved.must("status")
    saved.must("copy", DATA)
    saved.must("verify", DATA)


def test_an_admin_vouches_for_a_snapshot_that_is_gone(saved: Saved) -> None:
    saved.must("run", DATA)
    snapshots = f"{REPOSITORY_OF_IT}/snapshots"
    newest = saved.root("vault-1", f"ls -t {snapshots} | head -1")
    saved.root("vault-1", f"rm {snapshots}/{newest}")
    code, findings = saved.status()
    assert code == Kind.GONE.exit_code, findings
    assert "mainstay backup accept" in findings[0]["to_do"]
    unclear = saved.mainstay("accept", DATA, newest[:7], "--why", "a test")
    assert unclear.returncode == 2
    assert f"there are: {newest[:8]} (snapshot gone)" in unclear.stderr
    said = saved.must("accept", DATA, newest[:8], "--why", "a test removed it")
    assert f"{newest[:8]} (snapshot gone): accepted by lab" in said
    assert saved.status() == (0, [])


@pytest.mark.full
def test_the_old_key_stays_while_a_run_that_began_with_it_is_at_it(saved: Saved) -> None:
    old = held(saved)[SET.secret]
    lock = f"/var/lib/mainstay/backup/{PLAN}/lock"
    saved.root(HOST, f"systemd-run --unit run flock {lock} sleep infinity")
    until("the lock", lambda: saved.root(HOST, f"flock -n {lock} true || echo held"))
    try:
        done = saved.mainstay("rotate", DATA)
    finally:
        saved.root(HOST, "systemctl stop run")
    assert done.returncode == 1
    assert "another run is at it. The old key stays" in done.stderr
    assert keys(saved, old)
    assert keys(saved, held(saved)[SET.secret])
    saved.must("rotate", DATA)
    must_be_rotated(saved, old)


@pytest.mark.full
def test_a_deploy_that_fails_leaves_the_old_password_in_force(saved: Saved) -> None:
    """And a second copy that is begun with it meanwhile gets the new one, too."""
    old = held(saved)[SET.secret]
    plan = f"/etc/mainstay/backup/{PLAN}.json"
    saved.root(HOST, f"chattr +i {plan}")
    try:
        done = saved.mainstay("rotate", DATA)
    finally:
        saved.root(HOST, f"chattr -i {plan}")
    assert done.returncode == 1
    assert "deploys/release.py --limit release-1 -y exited 1" in done.stderr
    with reach(load_site(saved.inventory)) as way, way.store(COPY, ADMIN) as copy:
        begun = opened(copy, old)
        [new] = [key for key, current in begun.keys().items() if not current]
        begun.remove_key(new)
    saved.must("run", DATA)
    saved.must("rotate", DATA)
    must_be_rotated(saved, old)


@pytest.mark.full
@pytest.mark.parametrize(
    ("secret", "deploys"),
    [("vault_release_1", ("vault", "release")), ("vault_control", ("vault",)), ("vault_admin", ("vault",))],
)
def test_a_login_at_the_vault_is_replaced_by_removing_it_keys_and_deploys(
    saved: Saved, secret: str, deploys: tuple[str, ...]
) -> None:
    site = load_site(saved.inventory)
    old = site.secrets[secret].get_secret_value()
    custody.write(site, site.secrets, {secret: None})
    assert f"{secret}: made" in saved.must("keys")
    for deploy in deploys:
        assert converge(saved.inventory, deploy).ok
    new = load_site(saved.inventory).secrets[secret].get_secret_value()
    custody.write(site := load_site(saved.inventory), site.secrets, {secret: Plain(old)})
    try:
        must_be_refused(saved, secret)
    finally:
        custody.write(site := load_site(saved.inventory), site.secrets, {secret: Plain(new)})
    saved.must("run", DATA)
    saved.must("verify", DATA)
    saved.must("retain", DATA, "--max-share", "1")  # all points before this test left a snapshot each


def must_be_refused(saved: Saved, secret: str) -> None:
    """With what the secrets file says of it."""
    site = load_site(saved.inventory)
    listener = next((one for one, name in custody.LOGINS.items() if name == secret), "")
    if listener:
        with reach(site) as way, way.vault(listener) as vault, pytest.raises(ResticError, match="401"):
            opened(vault).snapshots()
        return
    name, address = site.fleet.hosts["vault-1"].dns[0], site.lock.hosts["vault-1"].ipv4
    login = f"{HOST}:{site.secrets[secret].get_secret_value()}"
    asked: list[Any] = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-K", "-", "--resolve"]
    asked += [f"{name}:8000:{address}", "--cacert", site.files / custody.CERTIFICATE]
    asked += [f"https://{name}:8000/{HOST}/{PLAN}/config"]
    done = subprocess.run(asked, input=f"user = {shlex.quote(login)}", capture_output=True, text=True, check=False)
    assert done.stdout == "401"
