"""A drill's own site: what is declared in it, what it may reach, and which secrets it holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backup import custody
from backup.custody import DataSet
from backup.drills import own_site
from backup.drills.own_site import Wanted
from backup.store import COPY, VAULT
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from tests.unit.drill_site import ADDRESSES, DATA, DOMAIN, drill_site

NAME = "drill-261126-1403-abcd-2611262003"
ROLES = ("release", "web", "control")
GB = 1_000_000_000


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> LoadedSite:
    return drill_site(tmp_path_factory.mktemp("site"))


def made(production: LoadedSite, folder: Path, role: str = "release", store: str = VAULT, size: int = 0) -> LoadedSite:
    data_set = DataSet(f"{role}-1", role)
    return own_site.make(Wanted(production, NAME, store, (data_set,), {data_set.host: size}), folder)


def values(site: LoadedSite) -> dict[str, str]:
    return {name: site.secrets[name].get_secret_value() for name in site.secrets}


def base(site: LoadedSite, role: str = "release") -> Any:
    return site.settings(f"{role}-1")["base"]


@pytest.mark.parametrize("role", ROLES)
def test_its_host_is_productions_in_everything_that_acts_on_nobody(
    production: LoadedSite, tmp_path: Path, role: str
) -> None:
    own = made(production, tmp_path, role)
    name = f"{role}-1"
    assert list(own.fleet.hosts) == [name]
    mine, theirs = own.fleet.hosts[name], production.fleet.hosts[name]
    assert (mine.role, mine.plan, mine.region, mine.os) == (theirs.role, theirs.plan, theirs.region, theirs.os)
    assert mine.volumes.keys() == theirs.volumes.keys()
    assert {volume: one.mount for volume, one in mine.volumes.items()} == {
        volume: one.mount for volume, one in theirs.volumes.items()
    }
    assert not mine.vpcs
    quiet = own_site.drill_of(role).quiet
    expected = production.settings(name)[role].model_dump() | dict(quiet)
    assert own.settings(name)[role].model_dump() == type(own.settings(name)[role])(**expected).model_dump()


@pytest.mark.parametrize("role", ROLES)
def test_it_sends_no_mail_saves_nothing_and_does_not_boot_by_itself(
    production: LoadedSite, tmp_path: Path, role: str
) -> None:
    assert base(production, role).mail
    own = made(production, tmp_path, role)
    assert (base(own, role).mail, base(own, role).reboot) == (None, False)
    assert own.fleet.backup.restore_from
    assert own.fleet.drill is None
    assert own.fleet.backup.copy_ is None
    assert custody.vault_of(own) is None


@pytest.mark.parametrize("role", ROLES)
def test_all_of_production_is_blocked_but_the_vaults_listener_for_hosts(
    production: LoadedSite, tmp_path: Path, role: str
) -> None:
    egress = base(made(production, tmp_path, role), role).egress
    blocked = {str(one) for one in egress.blocked}
    assert blocked == {
        *(f"{address}/32" for address in ADDRESSES.values()),
        *(f"2001:db8::{number}/128" for number in range(1, 5)),
        "10.20.0.0/24",
    }
    vault = ADDRESSES["vault-1"]
    assert {(str(one.address), one.port) for one in egress.allowed} == {(vault, 8000), ("2001:db8::3", 8000)}


def test_from_the_second_copy_nothing_of_production_may_be_reached(production: LoadedSite, tmp_path: Path) -> None:
    own = made(production, tmp_path, store=COPY)
    assert base(own).egress.allowed == ()
    assert own.fleet.backup.restore_from
    assert own.fleet.backup.restore_from.copy_ == production.fleet.backup.copy_
    assert own.fleet.backup.restore_from.vault is None


def test_its_names_lie_below_the_drills_domain(production: LoadedSite, tmp_path: Path) -> None:
    own = made(production, tmp_path, "web")
    assert (own.name, own.fleet.site.domain) == (NAME, f"{NAME}.{DOMAIN}")
    assert own.fleet.hosts["web-1"].dns == (f"www.{NAME}.{DOMAIN}", f"{NAME}.{DOMAIN}")


def test_at_first_only_ssh_and_then_only_one_address_may_connect(production: LoadedSite, tmp_path: Path) -> None:
    wanted = Wanted(production, NAME, VAULT, (DATA,), {"release-1": 0})
    own = own_site.make(wanted, tmp_path)
    assert [(rule.protocol, rule.port) for rule in own.fleet.firewalls["drill"].rules] == [("tcp", "22")]
    for source, subnet in (("198.51.100.7", "198.51.100.7/32"), ("2001:db8::7", "2001:db8::7/128")):
        own_site.write(wanted, tmp_path, [source])
        rules = own_site.load(wanted, tmp_path).fleet.firewalls["drill"].rules
        assert {str(one) for rule in rules for one in rule.sources} == {subnet}
        assert {rule.protocol for rule in rules} == {"tcp", "icmp"}


@pytest.mark.parametrize(
    ("size", "gb"), [(0, 10), (6 * GB, 10), (40 * GB, 52), (79 * GB, 100), (500 * GB, 100)], ids=str
)
def test_a_volume_has_room_for_what_is_restored_and_is_not_larger_than_productions(
    tmp_path: Path, size: int, gb: int
) -> None:
    production = drill_site(tmp_path / "production")
    path = production.path
    mounted = ', mount = "/srv/release"'
    path.write_text(path.read_text().replace(f"size_gb = 10{mounted}", f"size_gb = 100{mounted}"))
    own = made(load_site(path), tmp_path / "own", size=size)
    assert own.fleet.hosts["release-1"].volumes["content"].size_gb == gb


@pytest.mark.parametrize(
    ("role", "store", "names"),
    [
        ("release", VAULT, {"drill_api_key", "backup_release_1_release", "vault_release_1"}),
        ("web", VAULT, {"drill_api_key", "backup_web_1_web", "vault_web_1"}),
        ("release", COPY, {"drill_api_key", "backup_release_1_release", "copy_access_key", "copy_secret_key"}),
        ("control", VAULT, {"drill_api_key", "backup_control_1_control", "vault_control_1"}),
    ],
)
def test_it_holds_what_opens_its_data_and_nothing_else_of_production(
    production: LoadedSite, tmp_path: Path, role: str, store: str, names: set[str]
) -> None:
    own, theirs = values(made(production, tmp_path, role, store)), values(production)
    fresh = {custody.SSH_KEY, custody.AGE_KEY} if role == "control" else set()
    assert own.keys() == names | fresh
    assert {name: own[name] for name in names} == {name: theirs[name] for name in names}
    others = {value for name, value in theirs.items() if name not in names}
    assert not others & {*own.values()}


def test_nobody_of_production_gets_in_and_its_key_is_new_each_time(production: LoadedSite, tmp_path: Path) -> None:
    one, other = (made(production, tmp_path / name) for name in ("one", "other"))
    assert [admin.name for admin in one.admins.all()] == ["drill"]
    keys = [site.admins.admins["drill"].ssh_keys for site in (one, other)]
    assert keys[0] != keys[1]
    assert not {*keys[0]} & {*production.admins.admins["lab"].ssh_keys}
    assert (one.files / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_is_missing_is_named(tmp_path: Path) -> None:
    production = drill_site(tmp_path / "production", api_key="drill_other")
    with pytest.raises(InputError, match="drill_other"):
        made(production, tmp_path / "own")


def test_a_site_that_declares_none_says_so(production: LoadedSite, tmp_path: Path) -> None:
    text = production.path.read_text()
    path = tmp_path / "none.toml"
    path.write_text(text[: text.index("[drill]")])
    with pytest.raises(InputError, match="no drills are declared"):
        own_site.declared(load_site(path))


def test_secrets_that_a_role_has_made_anew_are_not_productions(
    production: LoadedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = own_site.drill_of("web")
    monkeypatch.setattr(own_site, "drill_of", lambda _: replace(declared, fresh=lambda settings: {"drill_api_key"}))
    own, again = (made(production, tmp_path / name, "web") for name in ("one", "other"))
    assert len({values(one)["drill_api_key"] for one in (own, again, production)}) == 3
