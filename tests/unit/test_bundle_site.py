"""Sites that no network leads to: what their inventory may say, and what is exported to pyinfra."""

from pathlib import Path

import pytest

from bundle import needs, source
from inventories import local
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import CLONE, groups, load_site
from roles.base.deploy import PACKAGES
from roles.signing import software
from tests.bundle_site import HOST, NAME, PY, TOML

WORDS = ["pyinfra", f"inventories/{NAME}.py", "deploys/base.py", "-y"]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / f"{NAME}.py"
    path.write_text(PY)
    path.with_suffix(".toml").write_text(TOML)
    return path


def test_the_machine_is_deployed_on_itself_as_the_host_it_is_said_to_be(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(local.VARIABLE, HOST)
    [(role, [(name, data)])] = groups(str(inventory), WORDS).items()
    assert (role, name, data["host_name"], data["_sudo"]) == ("base", "@local", HOST, False)


def test_a_machine_that_is_said_to_be_none_of_them_is_not_touched(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(local.VARIABLE, raising=False)
    with pytest.raises(InputError, match="no network leads to its hosts"):
        groups(str(inventory), WORDS)
    monkeypatch.setenv(local.VARIABLE, "other")
    with pytest.raises(InputError, match="no host 'other'"):
        groups(str(inventory), WORDS)


@pytest.mark.parametrize("deploy", ["provision", "web"])
def test_nothing_but_its_role_is_deployed(inventory: Path, monkeypatch: pytest.MonkeyPatch, deploy: str) -> None:
    monkeypatch.setenv(local.VARIABLE, HOST)
    with pytest.raises(InputError, match="is 'base'"):
        groups(str(inventory), [*WORDS[:2], f"deploys/{deploy}.py", "-y"])


@pytest.mark.parametrize(
    ("connection", "host", "words"),
    [
        ("local", {"plan": "x"}, "hosts.a.plan: a local site has no provider"),
        ("local", {"volumes": {"v": {"size_gb": 10, "mount": "/srv/x"}}}, "hosts.a.volumes"),
        ("ssh", {"region": "ams"}, "hosts.a.plan: Field required"),
        ("ssh", {"plan": "x"}, "hosts.a.region: Field required"),
    ],
)
def test_what_a_provider_gives_is_declared_where_there_is_one(connection: str, host: object, words: str) -> None:
    site = {"name": "x", "domain": "x.example.org", "connection": connection}
    assert isinstance(host, dict)
    with pytest.raises(ValueError, match=words):
        Fleet.model_validate({"site": site, "hosts": {"a": {"role": "base", **host}}})


def test_a_bundle_has_what_the_role_asks_for_and_what_runs_it(inventory: Path) -> None:
    inventory.with_suffix(".toml").write_text(f'{TOML}\n[bundle]\npackages = ["strace"]\n')
    assert set(needs.packages(load_site(inventory), "base")) == {*PACKAGES, *needs.TO_RUN, "strace"}


def test_of_a_role_with_a_web_server_that_is_in_it_too(inventory: Path) -> None:
    assert {"nginx", "rsync", "restic", "sudo"} <= set(needs.packages(load_site(inventory), "web"))


def test_of_the_signing_host_that_is_what_was_reviewed(inventory: Path) -> None:
    assert {*software.PINNED, *software.MINIMUM} <= set(needs.packages(load_site(inventory), "signing"))


def test_a_bundle_is_for_a_role_that_the_site_has(inventory: Path) -> None:
    assert needs.hosts(load_site(inventory), "base") == [HOST]
    with pytest.raises(InputError, match="no host has the role 'web'"):
        needs.hosts(load_site(inventory), "web")


def test_hosts_that_are_reached_by_ssh_need_no_bundle() -> None:
    with pytest.raises(InputError, match="are reached by ssh"):
        needs.hosts(load_site(CLONE / "inventories/prod.py"), "web")


def test_a_site_that_is_not_committed_here_has_no_bundle(inventory: Path) -> None:
    with pytest.raises(InputError, match="is not in this clone"):
        source.head(load_site(inventory))


def test_other_sites_stay_at_home() -> None:
    site = load_site(CLONE / "inventories/staging.py")
    names = ["inventories/staging.toml", "inventories/prod.toml", "inventories/fleet.py", "roles/x.toml"]
    found = {"inventories/prod", "inventories/prod.py", "inventories/prod.toml"}
    assert source.other_sites(names, site) == found
