"""What the doctor finds of a site: who I am to it, its secrets and its hosts, by real keys, ssh and an SSH server."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from doctor import hosts, site
from doctor.told import State, Told, told
from inventories.inventory import load_site
from inventories.lock import Lock, LockedHost, save
from inventories.secrets import Secrets
from tests.unit import ssh_server
from tests.unit.test_provision_login import _key as key
from tests.unit.test_provision_login import _public as public
from tests.unit.test_provision_login import agent, home

__all__ = ["agent", "home"]
SECRET = "correct-horse-battery"
HOSTS = '[hosts.{}]\nrole = "base"\nplan = "p"\nregion = "ams"\n'
Look = Callable[..., dict[str, Told]]


@pytest.fixture
def inventory(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of two admins, one secret and two hosts; alice is here."""
    for name in ("MAINSTAY_ADMIN", "MAINSTAY_IDENTITY", "MAINSTAY_INVENTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAINSTAY_ADMIN", "alice")
    folder = tmp_path / "site"
    folder.mkdir()
    keys = {"alice": public(key(home / ".ssh/id_ed25519")), "bob": public(key(tmp_path / "bob"))}
    declare(folder, keys)
    Secrets.create(folder / "secrets.age", {name: [line] for name, line in keys.items()}, {"token": SECRET})
    path = tmp_path / "site.toml"
    path.write_text('[site]\nname = "site"\ndomain = "example.org"\n' + HOSTS.format("web-1") + HOSTS.format("web-2"))
    return path


def declare(folder: Path, keys: Mapping[str, str]) -> None:
    people = (f'[admins.{name}]\nssh_keys = ["{line}"]\n' for name, line in keys.items())
    (folder / "admins.toml").write_text("".join(people))


@pytest.fixture
def look(inventory: Path) -> Look:
    """Makes a check of the site, as it is now."""

    def made(check: Callable[..., Iterator[Told]]) -> dict[str, Told]:
        loaded = load_site(inventory)
        return {one.check: one for one in told(check.__name__, lambda: check(loaded))}

    return made


def test_all_is_well_with_keys_that_are_declared(look: Look) -> None:
    found = look(site.admins) | look(site.me) | look(site.secrets)
    assert [one.state for one in found.values()] == ["ok"] * 3, found
    assert [one.says for one in found.values()] == [
        "alice, bob",
        "alice, with a key that is declared",
        "token was decrypted, one of 1 that you can read",
    ]


def test_whom_the_keys_belong_to_is_told_where_it_is_not_whom_one_says(
    look: Look, monkeypatch: pytest.MonkeyPatch, inventory: Path
) -> None:
    monkeypatch.setenv("MAINSTAY_ADMIN", "bob")
    found = look(site.me)["me"]
    assert (found.state, found.mend) == (State.WRONG, "export MAINSTAY_ADMIN=alice")
    monkeypatch.delenv("MAINSTAY_ADMIN")
    found = look(site.me)["me"]
    assert found.mend == "export MAINSTAY_ADMIN=alice"
    assert "it is not clear who you are" in found.says
    inventory.write_text(inventory.read_text().replace("domain", 'ssh_user = "bob"\ndomain'))
    assert look(site.me)["me"].mend == f"correct site.ssh_user in {inventory}"


def test_a_key_of_nobody_and_no_key_are_told(look: Look, home: Path, tmp_path: Path) -> None:
    mine = home / ".ssh/id_ed25519"
    key(tmp_path / "stranger").replace(mine)
    found = look(site.me)["me"]
    assert found.state is State.WRONG
    assert found.mend == f"add the line of its .pub to {tmp_path}/site/admins.toml"
    mine.unlink()
    assert "ssh-add" in look(site.me)["me"].mend


def test_a_key_file_that_others_can_read_is_told(look: Look, home: Path) -> None:
    (home / ".ssh/id_ed25519").chmod(0o644)
    found = look(site.me)["key file"]
    assert (found.state, found.mend) == (State.WRONG, f"chmod 600 {home}/.ssh/id_ed25519")


def test_admins_that_are_missing_are_told(look: Look, inventory: Path) -> None:
    (inventory.parent / "site/admins.toml").unlink()
    assert "copy inventories/admins.example there" in look(site.admins)["admins"].mend


def test_secrets_that_others_alone_can_read_are_told(look: Look, inventory: Path) -> None:
    held = Secrets(inventory.parent / "site/secrets.age")
    held.path.unlink()
    Secrets.create(held.path, {"bob": [public(inventory.parent / "bob")]}, {"token": SECRET})
    found = look(site.secrets)["secrets"]
    assert found.state is State.WRONG
    assert found.says == "your keys decrypt 0 of 1 secret"
    assert "mainstay secrets rekey" in found.mend


def test_a_secret_that_is_damaged_is_told(look: Look, inventory: Path) -> None:
    path = inventory.parent / "site/secrets.age"
    lines = path.read_text().splitlines(keepends=True)
    middle = next(n for n, line in enumerate(lines) if "END AGE" in line) - 2
    lines[middle] = lines[middle].swapcase()
    path.write_text("".join(lines))
    found = look(site.secrets)["secrets"]
    assert found.state is State.WRONG
    assert "is damaged" in found.says


def test_nobody_is_asked_for_a_passphrase(look: Look, home: Path, inventory: Path) -> None:
    mine = home / ".ssh/id_ed25519"
    mine.unlink()
    line = public(key(mine, "open sesame"))
    (inventory.parent / "site/secrets.age").unlink()
    Secrets.create(inventory.parent / "site/secrets.age", {"alice": [line]}, {"token": SECRET})
    found = look(site.secrets)["secrets"]
    assert (found.state, found.says) == (State.NOTE, "your key has a passphrase: not tried")


def test_secrets_that_are_not_of_the_present_admins_are_told(look: Look, inventory: Path, home: Path) -> None:
    declare(inventory.parent / "site", {"alice": public(home / ".ssh/id_ed25519")})
    found = look(site.secrets)["secrets"]
    assert found.state is State.NOTE
    assert "1 secret not encrypted to exactly the present admins" in found.says
    (inventory.parent / "site/secrets.age").unlink()
    assert "mainstay secrets edit" in look(site.secrets)["secrets"].mend


def test_what_is_not_provisioned_is_told(look: Look, inventory: Path) -> None:
    assert look(site.lock)["lock"].state is State.NOTE
    lock(inventory, "web-1")
    found = look(site.lock)["lock"]
    assert (found.state, found.says) == (State.WRONG, "not provisioned: web-2")
    assert found.mend.endswith("site.py deploys/provision.py")
    lock(inventory, "web-1", "web-2", "web-3")
    assert look(site.lock)["lock"].says == "not declared any more: web-3"
    lock(inventory, "web-1", "web-2")
    assert look(site.lock)["lock"].state is State.OK


def lock(inventory: Path, *names: str) -> None:
    """Hosts at loopback, with a host key that is made for them."""
    made = inventory.parent / "host_key"
    line = " ".join(public(made if made.exists() else key(made)).split()[:2])
    held = {name: LockedHost(instance_id=name, ipv4="127.0.0.1", host_keys=(line,)) for name in names}
    save(inventory.parent / "site/lock.json", Lock(hosts=held))


@pytest.fixture
def served(inventory: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """Both hosts answer, one server in the place of two, to alice; what it knows can be changed."""
    lock(inventory, "web-1", "web-2")
    named = f'ssh_key = "{home}/.ssh/id_ed25519"'  # ssh itself does not go by $HOME
    inventory.write_text(inventory.read_text().replace("domain", f"{named}\ndomain"))
    mine = " ".join(public(home / ".ssh/id_ed25519").split()[:2])
    state: dict[str, object] = {"ahead": 0.0, "keys": [mine]}
    keys = state["keys"]
    assert isinstance(keys, list)
    with ssh_server.serving(
        tmp_path / "host_key", keys, lambda: f"{time.time() + float(str(state['ahead']))}\n"
    ) as port:
        ssh_server.lead_there(port, tmp_path / "way", monkeypatch)
        yield state


def test_hosts_are_reached_under_their_pinned_keys_and_their_clock_is_compared(
    look: Look, served: dict[str, object]
) -> None:
    found = look(hosts.ask)
    assert {name: one.state for name, one in found.items()} == {"web-1": "ok", "web-2": "ok", "clock": "ok"}, found
    assert found["web-1"].says.startswith("reached as alice in ")
    served["ahead"] = -3600.0
    clock = look(hosts.ask)["clock"]
    assert clock.state is State.WRONG
    assert "web-1 60 min behind, web-2 60 min behind" in clock.says
    assert clock.mend == "as root on this machine: timedatectl set-ntp true"


@pytest.mark.usefixtures("served")
def test_a_host_with_another_key_and_one_that_refuses_are_told_apart(
    look: Look, inventory: Path, served: dict[str, object]
) -> None:
    keys = served["keys"]
    assert isinstance(keys, list)
    keys.clear()
    refused = look(hosts.ask)["web-1"]
    assert refused.state is State.WRONG
    assert "Permission denied" in refused.says
    assert refused.mend.endswith("site.py deploys/base.py --limit web-1")
    (inventory.parent / "host_key").unlink()
    lock(inventory, "web-1")
    other = look(hosts.ask)["web-1"]
    assert other.state is State.WRONG
    assert "Host key verification failed" in other.says
    assert "leave the pin" in other.mend


def test_a_clock_that_one_host_alone_has_wrong_is_that_hosts() -> None:
    clocks = {"web-1": hosts.Clock(100, 101, 102), "web-2": hosts.Clock(100, 5000, 102)}
    [only] = hosts.skew(clocks)
    assert (only.state, only.mend) == (State.WRONG, "as root on them: timedatectl set-ntp true")
    assert only.says == "seen from this machine: web-2 82 min ahead"
    assert hosts.Clock(100, 90, 102).apart == -10
    assert hosts.skew({}) == []


def test_hosts_that_hang_are_asked_at_once_and_not_waited_for(
    look: Look, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(inventory, "web-1", "web-2")
    (tmp_path / "way").mkdir()
    (tmp_path / "way/ssh").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "way/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/way:/usr/bin:/bin")
    monkeypatch.setattr(hosts, "ASK_S", 1)
    begun = time.monotonic()
    found = look(hosts.ask)
    assert time.monotonic() - begun < 1.9
    assert {name: one.state for name, one in found.items()} == {"web-1": "unreachable", "web-2": "unreachable"}


def test_an_admin_is_not_asked_to_reach_hosts_without_an_account(look: Look, inventory: Path) -> None:
    lock(inventory, "web-1")
    path = inventory.parent / "site/admins.toml"
    path.write_text(path.read_text().replace("[admins.bob]", 'roles = ["web"]\n[admins.bob]'))
    assert look(hosts.ask) == {}


@pytest.mark.usefixtures("served")
def test_the_command_tells_all_of_it_and_no_secret(inventory: Path) -> None:
    run = CliRunner().invoke(app, ["doctor", "--inventory", str(inventory), "--json"])
    said = json.loads(run.stdout)
    states = {one["check"]: one["state"] for one in said["checks"]}
    expected = dict.fromkeys(("inventory", "admins", "me", "secrets", "lock", "web-1", "web-2", "clock"), "ok")
    assert {name: states[name] for name in expected} == expected
    assert run.exit_code == said["exit_code"] == (1 if "wrong" in states.values() else 0)
    people = CliRunner().invoke(app, ["doctor", "--inventory", str(inventory)])
    assert len(people.stdout.splitlines()) == len(states), "one line a check"
    for text in (run.output, people.output):
        assert SECRET not in text
        assert "PRIVATE" not in text


def test_an_inventory_that_does_not_load_is_told_as_it_is(inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace('role = "base"', 'role = "bsae"'))
    run = CliRunner().invoke(app, ["doctor", "--inventory", str(inventory)])
    assert run.exit_code == 1
    last = run.stdout.splitlines()[-1]
    assert f"{inventory}: hosts.web-1.role: no role 'bsae' -> roles are the folders of roles/" in last


@pytest.mark.parametrize(
    ("states", "code"), [({"ok", "note"}, 0), ({"ok", "unreachable"}, 3), ({"wrong", "unreachable"}, 1)]
)
def test_exit_codes(states: set[str], code: int) -> None:
    from cli.doctor import _code

    assert _code(states) == code
