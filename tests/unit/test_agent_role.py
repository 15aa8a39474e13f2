"""From roles, fleet and secrets to a host's plans and timers."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backup import custody
from backup.agent.plan import parse
from backup.recovery import Recovery
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from inventories.secrets import Secrets
from roles.agent import plans
from roles.agent.plans import Planned

HOST: dict[str, Any] = {"plan": "small", "region": "ams"}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


def site(
    tmp_path: Path, key: Path, values: dict[str, str], restore_from: dict[str, Any] | None = None, **hosts: Any
) -> LoadedSite:
    fleet = Fleet.model_validate(
        {
            "site": {"name": "s", "domain": "example.org", "ssh_key": str(key)},
            "hosts": {"release-1": HOST | {"role": "release"}} | hosts,
            "backup": {"restore_from": restore_from},
        }
    )
    files = tmp_path / "s"
    files.mkdir(exist_ok=True)
    if values:
        Secrets.create(files / "secrets.age", {"alice": [key.with_suffix(".pub").read_text().strip()]}, values)
    return LoadedSite(tmp_path / "s.toml", fleet)


VAULT: dict[str, Any] = HOST | {"role": "vault", "dns": ["vault.example.org", "other.example.org"]}
VALUES = {"vault_release_1": "a/b:c", "backup_release_1_release": 'quote " me'}


def test_a_hosts_plan_is_its_roles_and_is_read_by_the_agent(tmp_path: Path, key: Path) -> None:
    loaded = site(tmp_path, key, VALUES, **{"vault-1": VAULT})
    [planned] = plans.planned(loaded, "release-1")
    assert "quote" not in repr(planned)
    plan = parse(Path("x"), plans.plan_file(planned).encode())
    assert plan.url == "rest:https://release-1:a%2Fb%3Ac@vault.example.org:8000/release-1/release/"
    assert (plan.name, plan.host, plan.password) == ("release", "release-1", 'quote " me')
    assert (plan.root, plan.paths, plan.ca) == (
        "/srv/release",
        ("public", "metadata", "publications"),
        "/etc/mainstay/backup/vault.pem",
    )


def test_without_vault_or_data_there_is_nothing_to_schedule(tmp_path: Path, key: Path) -> None:
    assert plans.vault(site(tmp_path, key, {})) == ""
    loaded = site(tmp_path, key, {}, **{"bare-1": HOST | {"role": "base"}, "vault-1": VAULT})
    assert plans.vault(loaded) == "vault.example.org"
    assert plans.planned(loaded, "bare-1") == []


@pytest.mark.parametrize("missing", VALUES)
def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path: Path, key: Path, missing: str) -> None:
    values = {name: value for name, value in VALUES.items() if name != missing}
    loaded = site(tmp_path, key, values, **{"vault-1": VAULT})
    with pytest.raises(InputError, match=rf"{missing}: no such secret\n.*mainstay backup keys --inventory .*s\.py"):
        plans.planned(loaded, "release-1")
    with pytest.raises(InputError, match=r"vault\.pem: cannot be read"):
        custody.certificate(loaded)


@pytest.mark.parametrize("vaults", [{"v-1": VAULT, "v-2": VAULT}, {"v-1": VAULT | {"dns": []}}])
def test_there_is_one_vault_and_it_has_a_name(tmp_path: Path, key: Path, vaults: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="hosts"):
        plans.vault(site(tmp_path, key, {}, None, **vaults))


def test_a_host_that_restores_from_anothers_vault_can_do_nothing_else(tmp_path: Path, key: Path) -> None:
    loaded = site(tmp_path, key, VALUES, {"vault": "vault.example.net"})
    assert plans.has_repositories(loaded)
    [planned] = plans.planned(loaded, "release-1")
    plan = parse(Path("x"), plans.plan_file(planned).encode())
    assert plan.url == "rest:https://release-1:a%2Fb%3Ac@vault.example.net:8000/release-1/release/"
    assert (plan.may, plan.ca) == ("restore", "/etc/mainstay/backup/vault.pem")
    with pytest.raises(InputError, match=r"vault\.pem: cannot be read.*\n.*the site whose backups are restored"):
        plans.certificates(loaded)
    (loaded.files / "vault.pem").write_text("PEM")
    assert plans.certificates(loaded) == {"/etc/mainstay/backup/vault.pem": "PEM"}


COPY = {"endpoint": "https://s3.example.net:7070/", "bucket": "saved", "region": "fr-par"}
COPY_VALUES = {"backup_release_1_release": "words", "copy_access_key": "AK", "copy_secret_key": "SK"}


def test_a_host_that_restores_from_a_second_copy_has_its_keys_and_none_of_the_vault(tmp_path: Path, key: Path) -> None:
    loaded = site(tmp_path, key, COPY_VALUES, {"copy": COPY})
    [planned] = plans.planned(loaded, "release-1")
    assert "SK" not in repr(planned)
    plan = parse(Path("x"), plans.plan_file(planned).encode())
    assert plan.url == "s3:https://s3.example.net:7070/saved/release-1/release"
    assert (plan.s3_region, plan.s3_access_key, plan.s3_secret_key) == ("fr-par", "AK", "SK")
    assert (plan.may, plan.ca, plans.certificates(loaded)) == ("restore", "", {})
    (loaded.files / "copy.pem").write_text("PEM")
    [planned] = plans.planned(loaded, "release-1")
    assert plans.certificates(loaded) == {planned.ca: "PEM"}


@pytest.mark.parametrize("missing", COPY_VALUES)
def test_what_a_drill_lacks_is_not_to_be_made_but_to_be_brought(tmp_path: Path, key: Path, missing: str) -> None:
    values = {name: value for name, value in COPY_VALUES.items() if name != missing}
    with pytest.raises(InputError, match=rf"{missing}: no such secret\n.*the site whose backups are restored"):
        plans.planned(site(tmp_path, key, values, {"copy": COPY}), "release-1")


def test_what_restores_from_elsewhere_has_no_vault_of_its_own(tmp_path: Path, key: Path) -> None:
    with pytest.raises(ValueError, match=r"backup\.restore_from: this fleet has a vault of its own, vault-1"):
        site(tmp_path, key, {}, {"vault": "vault.example.net"}, **{"vault-1": VAULT})


def test_names_that_the_vault_takes_for_parts_of_a_repository_are_refused(tmp_path: Path, key: Path) -> None:
    loaded = site(tmp_path, key, {}, keys=HOST | {"role": "release"}, **{"vault-1": VAULT})
    with pytest.raises(InputError, match="'keys' cannot be the name"):
        plans.planned(loaded, "keys")


def units(**recovery: Any) -> dict[str, str]:
    made = Recovery.model_validate({"root": "/srv/x"} | recovery)
    planned = Planned("x", "h", SecretStr("u"), SecretStr("p"), "", made)
    return {Path(path).name: text for path, text in plans.unit_files(planned).items() if path.endswith(".timer")} | {
        Path(path).parent.name: text for path, text in plans.unit_files(planned).items() if path.endswith(".conf")
    }


def test_a_unit_may_do_what_its_plan_needs_and_no_more() -> None:
    files = units(consistency="files")["mainstay-backup@x.service.d"]
    assert "RequiresMountsFor=/srv/x" in files
    assert "Capability" not in files
    assert "ReadWritePaths" not in files
    btrfs = units(consistency="btrfs")["mainstay-backup@x.service.d"]
    assert "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_FOWNER CAP_SYS_ADMIN\n" in btrfs
    assert "ReadWritePaths=-/srv/x\n" in btrfs
    assert "CAP_SETUID" in units(consistency="command", command=("x",))["mainstay-backup@x.service.d"]
    assert "Capability" not in units(consistency="btrfs")["mainstay-backup-verify@x.service.d"]


def test_only_what_can_leave_something_is_settled_after_each_run() -> None:
    def settles(**recovery: Any) -> bool:
        return "ExecStopPost=" in units(**recovery)["mainstay-backup@x.service.d"]

    assert not settles(consistency="files")
    assert not settles(consistency="refs")
    assert settles(consistency="btrfs")
    assert settles(consistency="files", after=(("true",),))


def test_timers_run_as_often_as_is_said_and_catch_up() -> None:
    half_hourly = units(consistency="files", every="half-hourly")
    assert "OnCalendar=*:00/30\nRandomizedDelaySec=15min\n" in half_hourly["mainstay-backup@x.timer"]
    hourly = units(consistency="files", every="hourly")
    assert (
        "OnCalendar=hourly\nRandomizedDelaySec=30min\nFixedRandomDelay=yes\nPersistent=yes\n"
        in hourly["mainstay-backup@x.timer"]
    )
    assert "OnCalendar=*-*-* 00:00:00\n" in units(consistency="files")["mainstay-backup@x.timer"]
    assert "OnCalendar=Sat" in hourly["mainstay-backup-verify@x.timer"]


def test_every_role_with_data_has_a_plan_that_the_agent_reads() -> None:
    for role in ("release", "web"):
        planned = Planned(role, "h", SecretStr("/srv/repository"), SecretStr("p"), "", custody.recovery(role))
        assert json.loads(plans.plan_file(planned))["root"] == parse(Path("x"), plans.plan_file(planned).encode()).root
