"""Labs as folders: their names, and what is left of them."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from inventories.keys import new_age, public_age
from inventories.secrets import Secrets, owners, read, write
from lab import lifecycle, site_files, storage
from lab.api.store import DRILL
from lab.engine import MAX_INDEX, LabConfig
from lab.sites import derive
from tests.unit import lab_api


@pytest.mark.parametrize("name", ["", "..", "/tmp", "a/b", "Lab", "-x"])
def test_what_cannot_be_a_labs_name_is_refused_before_anything_is_touched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LABS", tmp_path / "labs")
    (tmp_path / "labs/other").mkdir(parents=True)
    for call in (lifecycle.up, lifecycle.down, lifecycle.reserve):
        with pytest.raises(lifecycle.LabError, match="cannot be a lab's name"):
            call(name)
    assert lifecycle.find(name) is None
    assert (tmp_path / "labs/other").exists()


def test_a_removal_cut_short_at_any_point_leaves_a_lab_that_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LABS", tmp_path)
    monkeypatch.setattr(lifecycle, "answers", lambda config: False)
    left = [0]

    def counted(remove: Any) -> Any:
        def one(*arguments: Any, **options: Any) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            remove(*arguments, **options)

        return one

    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    for removals in itertools.count():
        config = lifecycle.find("cut") or lifecycle._allocate("cut")
        (config.root / "site").mkdir(exist_ok=True)
        left[0] = removals
        try:
            lifecycle._remove(config.root)
        except KeyboardInterrupt:
            assert lifecycle.status("cut")["state"] in ("stopped", "down")
        else:
            break
    assert removals > 2
    assert not config.root.exists()


@pytest.fixture
def config(tmp_path: Path) -> LabConfig:
    return LabConfig("unit", 9, tmp_path)


def written(config: LabConfig) -> None:
    site_files.write(config, lifecycle.api_key(config), lifecycle.api_key(config, DRILL))


def test_each_account_has_a_key_of_its_own_that_stays(config: LabConfig) -> None:
    assert lifecycle._make_keys(config)
    main, drill = lifecycle.api_key(config), lifecycle.api_key(config, DRILL)
    assert len({main, drill, ""}) == 3
    assert not lifecycle._make_keys(config)
    assert (lifecycle.api_key(config), lifecycle.api_key(config, DRILL)) == (main, drill)
    assert (config.root / "drill_api_key").stat().st_mode & 0o777 == 0o600


def test_a_lab_from_before_the_account_of_the_drills_gets_its_key_and_keeps_its_own(config: LabConfig) -> None:
    (config.root / "api_key").write_text("OLD\n")
    assert lifecycle._make_keys(config)
    assert lifecycle.api_key(config) == "OLD"
    assert lifecycle.api_key(config, DRILL)


def test_a_labs_site_holds_both_keys_and_trusts_the_labs_certificate(config: LabConfig) -> None:
    lifecycle._make_keys(config)
    written(config)
    site, certificate = config.root / "site", storage.tls(config)[0].read_text()
    assert {(site / name).read_text() for name in ("provider.pem", "copy.pem", "acme.pem")} == {certificate}
    secrets = Secrets(site / "secrets.age", [site / "id_ed25519"])
    assert secrets["vultr_api_key"].get_secret_value() == lifecycle.api_key(config)
    assert secrets["drill_api_key"].get_secret_value() == lifecycle.api_key(config, DRILL)
    assert {name for name in secrets if secrets.entries[name].tags} == {"drill_api_key"}
    assert secrets.tagged("drill") == ("drill_api_key",)
    before = (site / "secrets.age").read_bytes()
    written(config)
    assert (site / "secrets.age").read_bytes() == before


def test_an_older_labs_site_gets_what_it_lacks_and_its_control_host_reads_it(config: LabConfig) -> None:
    lifecycle._make_keys(config)
    written(config)
    site = config.root / "site"
    (site / "provider.pem").unlink()
    old = read(site / "secrets.age")
    del old["drill_api_key"]
    write(site / "secrets.age", old)
    (site / "control.age.pub").write_text(public_age(new_age()))
    written(config)
    new = read(site / "secrets.age")
    assert {name: entry for name, entry in new.items() if name != "drill_api_key"} == old
    assert owners(new["drill_api_key"]) == ("control", "lab")
    assert (site / "provider.pem").exists()


def test_a_labs_site_gets_a_key_that_may_change_dns_alone_once(
    config: LabConfig, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle._make_keys(config)
    written(config)
    secrets_file = config.root / "site/secrets.age"
    with lab_api.serve(tmp_path_factory.mktemp("api")) as api:
        monkeypatch.setattr(LabConfig, "api_url", f"{api.base}/v2")
        # One whose key was lost when an `up` was cut short.
        assert api("POST", "/users", {**site_files.DNS_USER, "password": "x"})[0] == 201
        site_files.add_dns_key(config, api.key)
        held = secrets_file.read_bytes()
        site_files.add_dns_key(config, api.key)
        assert secrets_file.read_bytes() == held
        secrets = Secrets(secrets_file, [config.root / "site/id_ed25519"])
        limited = replace(api, key=secrets["acme_dns_key"].get_secret_value())
        assert limited("GET", "/account")[1]["account"]["acls"] == ["dns"]
        assert [user["name"] for user in api("GET", "/users")[1]["users"]] == ["acme"]
    assert secrets.entries["acme_dns_key"].tags == ()


def test_the_labs_inventories_say_where_hosts_reach_the_api(tmp_path: Path) -> None:
    labs = [LabConfig("lab" if not index else f"lab{index}", index, tmp_path) for index in range(MAX_INDEX + 1)]
    declared = load_site(REPOSITORY / "inventories/lab.toml").fleet.drill
    assert declared
    assert declared.api_url == labs[0].drill_api_url == "https://10.64.0.1:7980/v2"
    other = load_site(derive(labs[3], tmp_path)).fleet.drill
    assert other
    assert other.api_url == labs[3].drill_api_url == "https://10.67.0.1:7983/v2"
    assert len({port for lab in labs for port in (lab.api_port, lab.https_port)}) == 2 * len(labs)
