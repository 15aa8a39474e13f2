"""A client that is root on its host, knows all that its host knows, and wants the backups of everybody gone."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import tomlkit

from backup import custody
from backup.custody import ADMIN, APPEND, CONTROL, PORTS
from backup.restic_process import ResticError
from tests.vault_client import authorization, listens
from tests.vault_site import OTHER, OWN, REPOSITORIES, ROOTED, VAULT, VICTIM, Vault, named, vault_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
READS, CHANGES = ("GET", "HEAD"), ("POST", "PUT", "PATCH", "DELETE")
STRANGE = ("OPTIONS", "TRACE", "CONNECT", "MOVE", "COPY", "LINK", "PROPFIND", "MKCOL", "PURGE", "delete", "get")
KINDS = ("data", "index", "keys", "locks", "snapshots")
FROM_HOST = (
    "curl -s -o /dev/null -w '%{{http_code}}' --connect-timeout 3 --cacert /tmp/vault.pem "
    "--resolve {name}:{port}:{address} https://{name}:{port}/ || true"
)


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    yield from vault_site()


def some(vault: Vault, data: str) -> list[str]:
    """A file of each kind of a repository, as targets of requests."""
    found = [f"{data}/config"]
    for kind in KINDS:
        listed = vault.root(f"cd {REPOSITORIES}{data}/{kind} && find . -type f | head -1").strip()
        if listed:
            found.append(f"{data}/{kind}/{listed.rpartition('/')[2]}")
    return found


def disguises(target: str) -> list[str]:
    """Ways to write a path so that a careless server takes it for another."""
    inner = target.lstrip("/")
    encoded = inner.replace("/", "%2f")
    return [
        f"//{inner}",
        f"/./{inner}",
        f"{OWN}/../../{inner}",
        f"/{ROOTED}/../{inner}",
        f"/{ROOTED}/%2e%2e/{inner}",
        f"/{ROOTED}%2f..%2f{encoded}",
        f"/{ROOTED}/..%2f{encoded}",
        f"{OWN}/data/..%2f..%2f..%2f{encoded}",
        f"{OWN}%2f..%2f..%2f{encoded}",
        f"/{ROOTED}/..%252f{inner}",
        f"/{ROOTED}//../{inner}",
        f"/{ROOTED};/../{inner}",
        f"/{ROOTED}/..\\{inner}",
        f"/{ROOTED}%00/../{inner}",
        f"/%72elease-1/{inner.partition('/')[2]}",
        f"/{inner.replace(VICTIM, VICTIM.upper())}",
        f"https://{ROOTED}/{inner}",
        f"{target}?user={ROOTED}",
        f"{target}%20",
        inner,
    ]


def test_what_is_of_another_can_neither_be_read_nor_changed(vault: Vault) -> None:
    before = vault.files(OTHER)
    secret = vault.outside().ask("GET", f"{OTHER}/config", vault.login(VICTIM)).body
    assert secret
    for target in some(vault, OTHER):
        tries = [(method, target) for method in STRANGE]
        tries += [(method, way) for way in (target, *disguises(target)) for method in (*READS, *CHANGES)]
        for method, way in tries:
            answer = vault.ask(method, way, b"overwritten" if method in CHANGES else None)
            assert 300 <= answer.status < 500, f"{method} {way}: {answer}"
            assert secret not in answer.body
    for kind in ("", *KINDS):
        for way in (f"{OTHER}/{kind}/", f"/{VICTIM}/{kind}/", f"/{kind}/"):
            for status in (vault.ask("GET", way).status, vault.ask("POST", f"{way}?create=true").status):
                assert status in (301, 401, 404, 405), way
    new = b"a pack of mine"
    assert vault.ask("POST", f"{OTHER}/data/{named(new)}", new).status == 401
    assert vault.files(OTHER) == before


def test_what_it_saved_itself_can_neither_be_deleted_nor_overwritten(vault: Vault) -> None:
    before = vault.files(OWN)
    for target in some(vault, OWN):
        content = vault.ask("GET", target).body
        for body in (b"overwritten", b"", content):
            assert vault.ask("POST", target, body).status == 403, target
        assert vault.ask("DELETE", target).status == 403, target
        override = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE", "Overwrite": "T"}
        assert vault.ask("POST", target, b"x", headers=override).status == 403, target
        for method in ("PUT", "PATCH", *STRANGE):
            assert vault.ask(method, target, b"x").status in (400, 404, 405), f"{method} {target}"
        ranged = {"Content-Range": "bytes 0-0/1", "Range": "bytes=0-0"}
        assert vault.ask("POST", target, b"x", headers=ranged).status == 403
    for folder in ("/", *(f"/{kind}/" for kind in KINDS)):
        assert vault.ask("DELETE", f"{OWN}{folder}").status == 405
    assert vault.ask("POST", f"{OWN}/?create=true").status == 200
    assert vault.files(OWN) == before


def test_it_may_delete_its_locks_alone(vault: Vault) -> None:
    lock = b"a lock"
    target = f"{OWN}/locks/{named(lock)}"
    assert vault.ask("POST", target, lock).status == 200
    assert vault.ask("DELETE", target.replace(OWN, OTHER)).status == 401
    assert vault.ask("DELETE", target).status == 200
    assert vault.ask("GET", target).status == 404


def test_half_an_upload_and_one_that_is_not_what_it_is_named_leave_nothing(vault: Vault) -> None:
    before = vault.files(OWN)
    content = b"honest content"
    target = f"{OWN}/data/{named(content)}"
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(vault.login(ROOTED))}\r\n"
    for rest in (
        f"Content-Length: {len(content)}\r\n\r\n{content.decode()[:5]}",
        "Content-Length: 1000000000000\r\n\r\nx",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhones",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhones\r\n0\r\n\r\n",
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(content)}\r\n\r\n0\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ):
        vault.outside().send((head + rest).encode())
    assert vault.ask("POST", target, b"something else").status == 400
    for name in (
        "0" * 63,
        "0" * 65,
        named(content).upper(),
        "..",
        "%2e%2e",
        f"{named(content)}/x",
        f"{named(content)}.x",
    ):
        assert not 200 <= vault.ask("POST", f"{OWN}/data/{name}", content).status < 300, name
    assert vault.ask("GET", target).status == 404
    assert vault.files(OWN) == before
    assert vault.ask("POST", target, content).status == 200


def test_a_repository_whose_making_was_cut_short_is_taken_away_by_an_admin(vault: Vault) -> None:
    half = f"/{ROOTED}/half"
    assert vault.ask("POST", f"{half}/?create=true").status == 200
    login = authorization(vault.login(ROOTED))
    vault.outside().send(
        f"POST {half}/config HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\nContent-Length: 100\r\n\r\nhalf".encode()
    )
    assert vault.ask("GET", f"{half}/config").body == b"half"
    assert vault.ask("POST", f"{half}/config", b"whole").status == 403
    assert vault.ask("DELETE", f"{half}/config").status == 403
    assert vault.inside[ADMIN].ask("DELETE", f"{half}/config", vault.login("admin")).status == 200
    assert vault.ask("POST", f"{half}/config", b"whole").status == 200


@pytest.mark.parametrize("user", [ROOTED, VICTIM, "control", "admin", "root", ""])
def test_nobody_enters_by_a_password_that_is_not_theirs(vault: Vault, user: str) -> None:
    secrets = vault.site.secrets
    for password in ("", "wrong", secrets[custody.DataSet(ROOTED, "web").secret].get_secret_value()):
        assert vault.outside().ask("GET", f"{OWN}/config", (user, password)).status == 401
    if user != ROOTED:
        assert vault.outside().ask("GET", f"{OWN}/config", (user, vault.login(ROOTED)[1])).status == 401


def test_only_the_listener_for_hosts_is_reached_by_hosts(vault: Vault) -> None:
    locked = vault.site.lock.hosts[VAULT]
    for address in (locked.ipv4, locked.ipv6):
        assert [listens(address, port) for port in PORTS.values()] == [True, False, False]
    pem = (vault.site.files / custody.CERTIFICATE).read_bytes()
    vault.ssh(ROOTED, "cat >/tmp/vault.pem", pem)
    [private] = locked.vpc_ipv4.values()
    seen = {
        (address, port): vault.ssh(ROOTED, FROM_HOST.format(name=vault.name, port=port, address=address)).strip()
        for address in (locked.ipv4, private)
        for port in PORTS.values()
    }
    open_to_hosts = {(locked.ipv4, PORTS[APPEND]), (private, PORTS[APPEND])}
    assert {where: code != "000" for where, code in seen.items()} == {where: where in open_to_hosts for where in seen}


def test_a_hosts_credential_opens_no_other_listener(vault: Vault) -> None:
    for listener, way in vault.inside.items():
        status = way.ask("GET", f"{OWN}/config", vault.login(ROOTED)).status
        assert status == (200 if listener == APPEND else 401)


def test_the_control_side_reads_everything_and_deletes_nothing(vault: Vault) -> None:
    before = vault.files()
    for data in (OWN, OTHER):
        seen = vault.repository(data, CONTROL, "control")
        assert seen.check((1, 1)).errors == ()
        [snapshot] = [snapshot.id for snapshot in seen.snapshots()][:1]
        with pytest.raises(ResticError):
            replace(seen, lock_wait_s=0).forget([snapshot])
        for target in some(vault, data):
            assert vault.inside[CONTROL].ask("DELETE", target, vault.login("control")).status == 403
    assert vault.files() == before


def test_its_snapshots_are_added_and_only_an_admin_takes_one_away(vault: Vault) -> None:
    source = vault.folder / "source" / OWN.strip("/")
    (source / "more").write_bytes(os.urandom(500_000))
    mine = vault.repository(OWN)
    added = mine.backup(source, host=ROOTED, tags=["data"]).snapshot
    assert added in [snapshot.id for snapshot in mine.snapshots()]
    with pytest.raises(ResticError):
        mine.forget([added])
    assert vault.ask("DELETE", f"{OWN}/snapshots/{added}").status == 403
    admin = vault.repository(OWN, ADMIN, "admin")
    admin.forget([added])
    admin.prune()
    assert added not in [snapshot.id for snapshot in mine.snapshots()]
    assert admin.check((1, 1)).errors == ()


def test_a_restart_in_the_middle_of_a_backup_does_not_break_it(vault: Vault) -> None:
    source = vault.folder / "large"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(120_000_000))
    told: list[float] = []

    def restart(progress: Any) -> None:
        if not told:
            vault.root("systemctl restart vault@append")
        told.append(progress.fraction)

    mine = vault.repository(OWN)
    done = mine.backup(source, host=ROOTED, tags=["large"], progress=restart)
    assert told
    mine.restore(done.snapshot, vault.folder / "back")
    assert (vault.folder / "back/file").read_bytes() == (source / "file").read_bytes()


def test_a_second_run_changes_nothing_and_a_password_that_was_replaced_opens_nothing(vault: Vault) -> None:
    assert vault.deploy().changed == ()
    old = vault.login(ROOTED)
    text = vault.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(text.read_text())
    del document["hosts"][ROOTED]
    document["hosts"]["web-2"] = {"role": "web", "plan": "vc2-1c-1gb", "region": "ams"}
    text.write_text(tomlkit.dumps(document))
    assert custody.make(vault.site) == ("vault_web_2", "backup_web_2_web")
    done = vault.deploy()
    assert done.ok, done.output
    assert done.changed == (f"{VAULT}: vault | files", f"{VAULT}: vault | services")
    assert vault.outside().ask("GET", f"{OWN}/config", old).status == 401
    assert vault.outside().ask("GET", "/web-2/web/config", vault.login("web-2")).status == 404
