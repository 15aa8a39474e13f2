"""What an inventory file may say, and how it answers when it says something else."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from backup.reach import state
from cloud.converge import PYINFRA, REPOSITORY
from cloud.user_data import host_key
from inventories import identities, secrets
from inventories.errors import InputError
from inventories.inventory import groups, load_site
from inventories.keys import new_age, public_age
from inventories.lock import Lock, LockedHost, known_hosts, load, save
from lab.engine import LabConfig
from lab.sites import derive, only

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2nLBv3NnXkFz1j3r8mS9m8QvT0yJmYw7b3u1r5c9dZ"
ADMINS = f'[admins.lab]\nssh_keys = ["{KEY} lab@laptop"]\n'
LOCKED = LockedHost(instance_id="1", ipv4="10.64.0.10", ipv6="fd6d::10", host_keys=(KEY,))


@pytest.fixture
def lab_config(tmp_path: Path) -> LabConfig:
    config = LabConfig("unit", 9, tmp_path / "lab")
    (config.root / "site").mkdir(parents=True)
    (config.root / "site/admins.toml").write_text(ADMINS)
    (config.root / "site/id_ed25519").write_text(host_key().private)
    return config


@pytest.fixture
def write(lab_config: LabConfig, tmp_path: Path) -> Callable[..., Path]:
    def with_change(change: Callable[[Any], None] = lambda _: None) -> Path:
        def change_two(document: Any) -> None:
            only(document, "release-1", "web-1")
            change(document)

        return derive(lab_config, tmp_path, change_two)

    return with_change


def _set(path: str, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        *parents, last = path.split("/")
        for key in parents:
            document = document.setdefault(key, tomlkit.table())
        document[last] = value

    return change


PLAIN = {"role": "web", "plan": "p", "region": "ams"}
OWN = {"role": "web", "address": "192.0.2.1", "host_keys": [KEY]}
VOLUME = {"size_gb": 10, "mount": "/srv/x"}
COPY = {"endpoint": "https://s3.example.org", "bucket": "b-1"}
BAD: list[tuple[str, Any, str, str]] = [
    ("hosts/web-1/role", "wbe", "hosts.web-1.role", "no role 'wbe'"),
    ("hosts/web-1/plan", 3, "hosts.web-1.plan", "valid string, found 3"),
    ("hosts/web-1/plam", "x", "hosts.web-1.plam", "no such key"),
    ("hosts/Web", {"role": "web", "plan": "p", "region": "ams"}, "hosts.Web", "lower-case letters"),
    ("hosts/web-1/firewall", "none", "hosts.web-1.firewall", "no firewall 'none'"),
    ("hosts/web-1/vpcs", ["other"], "hosts.web-1.vpcs", "no VPC 'other'"),
    ("hosts/web-1/region", "fra", "hosts.web-1.vpcs", "in region 'ams'"),
    ("hosts/web-1/dns", ["www.example.net"], "hosts.web-1.dns", "not in the site's domain"),
    ("hosts/web-1/dns", ["localhost"], "hosts.web-1.dns.0", "full DNS name"),
    (
        "hosts/web-1/volumes/content/size_gb",
        0,
        "hosts.web-1.volumes.content.size_gb",
        "high_perf is sold from 10 to 10000 GB, not 0",
    ),
    ("hosts/web-1/settings/release/x", 1, "hosts.web-1.settings.release", "does not have this role"),
    ("hosts/web-1/settings/web/colour", 1, "hosts.web-1.settings.web.colour", "no such key"),
    ("settings/wbe/x", 1, "settings.wbe", "no such role"),
    ("vpcs/second", {"region": "ams", "subnet": "10.20.0.128/25"}, "vpcs.second.subnet", "overlaps 10.20.0.0/24"),
    ("backup/restore_from", {}, "backup.restore_from", "needs vault or copy"),
    ("backup/restore_from", {"vault": "v.example.org", "copy": COPY}, "backup.restore_from", "not both"),
    ("backup/restore_from/vault", "10.0.0.1", "backup.restore_from.vault", "full DNS name"),
    ("firewalls/a/rules", [{"protocol": "tcp", "port": "70000"}], "firewalls.a.rules.0.port", "1 to 65535"),
    ("firewalls/a/rules", [{"protocol": "udp", "port": "9:8"}], "firewalls.a.rules.0.port", "first:last"),
    ("firewalls/a/rules", [{"protocol": "tcp"}], "firewalls.a.rules.0", "tcp needs a port"),
    ("firewalls/a/rules", [{"protocol": "icmp", "port": "1"}], "firewalls.a.rules.0", "icmp has no port"),
    (
        "firewalls/a/rules",
        [{"protocol": "icmp", "sources": ["10.0.0.1/8"]}],
        "firewalls.a.rules.0.sources.0",
        "valid IPv4 or IPv6 network",
    ),
    ("firewalls/public-web/rules", [{"protocol": "tcp", "port": "ssh"}], "firewalls.public-web.rules.0.port", "'ssh'"),
    ("hosts/web-1/role", "common", "hosts.web-1.role", "no role 'common'"),
    ("settings/common/x", 1, "settings.common", "no such role"),
    ("hosts/web-", PLAIN, "hosts.web-", "no dash last"),
    ("provider/api_url", "api.vultr.com/v2", "provider.api_url", "address of an API"),
    ("provider/api_url", "ftp://api.vultr.com/v2", "provider.api_url", "address of an API"),
    ("provider/api_url", "https:///v2", "provider.api_url", "address of an API"),
    (
        "provider/api_url",
        "http://api.vultr.com/v2",
        "provider.api_url",
        "with https, or the key could be read on its way",
    ),
    ("provider/api_url", "https://api.vultr.com:port/v2", "provider.api_url", "address of an API"),
    ("provider/api_url", "https://api.vultr.com/v2\n", "provider.api_url", "address of an API"),
    ("drill/api_key", "vault_admin", "drill.api_key", "should match pattern"),
    ("provider/api_key", "drill_api_key", "drill.api_key", "an account that cannot see the site"),
    ("hosts", {"x": {**OWN, "plan": "p"}}, "hosts.x.plan", "a machine of your own has no provider"),
    ("hosts", {"x": {**OWN, "host_keys": []}}, "hosts.x.host_keys", "Field required"),
    ("hosts/x", {**OWN, "host_keys": [KEY.replace("AAAAI", "AAAAJ")]}, "hosts.x.host_keys.0", "cut off or damaged"),
    ("hosts/x", OWN, "hosts.release-1.address", "all machines of your own, or none"),
    ("vpcs/internal/subnet", "8.8.8.0/24", "vpcs.internal.subnet", "not private"),
    ("vpcs/internal/subnet", "10.20.0.0/30", "vpcs.internal.subnet", "too small"),
    *[
        ("hosts/web-1/volumes/content/mount", mount, "hosts.web-1.volumes.content.mount", "plain path below")
        for mount in (
            "/srv/../etc",
            "/srv//web",
            "//srv/web",
            "/srv/web/",
            "/srv/./web",
            "/etc",
            "/srvx",
            "/var",
            "/home",
        )
    ],
    *[
        ("hosts/x", {**PLAIN, "volumes": volumes}, field, problem)
        for volumes, field, problem in (
            ({"a-name-of-17-byte": VOLUME}, "hosts.x.volumes.a-name-of-17-byte", "ext4 label: at most 16"),
            ({"a-name-of-13b": {**VOLUME, "filesystem": "xfs"}}, "hosts.x.volumes.a-name-of-13b", "xfs label: at most"),
            ({"one": VOLUME, "two": VOLUME}, "hosts.x.volumes.two.mount", "/srv/x is where 'one' lies"),
            (
                {"one": VOLUME, "two": {**VOLUME, "mount": "/srv"}},
                "hosts.x.volumes.one.mount",
                "below /srv, where 'two'",
            ),
        )
    ],
    ("hosts/web-1/dns", ["release-1.lab.example.org"], "hosts.web-1.dns", "the name of the host 'release-1'"),
]


@pytest.mark.parametrize(("path", "value", "field", "problem"), BAD, ids=[f"{case[0]}={case[1]}" for case in BAD])
def test_bad_input_is_one_error_that_names_file_and_field(
    write: Callable[..., Path], path: str, value: Any, field: str, problem: str
) -> None:
    inventory = write(_set(path, value))
    with pytest.raises(InputError) as caught:
        load_site(inventory)
    assert caught.value.file == str(inventory.with_suffix(".toml"))
    assert caught.value.field == field
    assert problem in caught.value.problem


def test_a_range_of_one_port_is_that_port(write: Callable[..., Path]) -> None:
    rule = {"protocol": "tcp", "port": "22:22"}
    site = load_site(write(_set("firewalls/public-web/rules", [rule])))
    assert [rule.port for rule in site.fleet.firewalls["public-web"].rules] == ["22"]


def test_a_host_may_list_its_own_name(write: Callable[..., Path]) -> None:
    inventory = write(_set("hosts/web-1/dns", ["web-1.lab.example.org"]))
    assert load_site(inventory).fleet.hosts["web-1"].dns == ("web-1.lab.example.org",)


@pytest.mark.parametrize("file", ["unit.toml", "lab/site/lock.json", "lab/site/admins.toml", "lab/site/secrets.age"])
def test_a_folder_where_a_file_belongs_is_named(write: Callable[..., Path], tmp_path: Path, file: str) -> None:
    inventory = write()
    (tmp_path / file).unlink(missing_ok=True)
    (tmp_path / file).mkdir()
    with pytest.raises(InputError, match=rf"{file}: cannot be read: .*Is a directory"):
        load_site(inventory)


def test_an_admin_of_a_role_that_is_not_there_is_named(write: Callable[..., Path], lab_config: LabConfig) -> None:
    inventory = write()
    (lab_config.root / "site/admins.toml").write_text(ADMINS + 'roles = ["relase"]\n')
    with pytest.raises(InputError, match=r"admins\.toml: admins\.lab\.roles: no role 'relase'"):
        load_site(inventory)


def test_malformed_toml_names_the_line(write: Callable[..., Path]) -> None:
    inventory = write()
    inventory.with_suffix(".toml").write_text("[site\n")
    with pytest.raises(InputError, match="line 1"):
        load_site(inventory)


def test_a_duplicate_host_is_refused(write: Callable[..., Path]) -> None:
    inventory = write()
    with inventory.with_suffix(".toml").open("a") as toml:
        toml.write('[hosts.web-1]\nrole = "web"\n')
    with pytest.raises(InputError, match="web-1"):
        load_site(inventory)


def test_a_missing_inventory_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"inventories/lab\.py, inventories/prod\.py, inventories/signing\.py, inventories/staging\.py"
    ):
        load_site(tmp_path / "none.py")


@pytest.mark.parametrize("name", ["lab", "prod", "staging"])
def test_the_inventories_of_this_repository_load(name: str, tmp_path: Path) -> None:
    """Apart from the files beside them, which others may not read."""
    toml = tomlkit.parse((REPOSITORY / f"inventories/{name}.toml").read_text()).unwrap()
    toml["site"].pop("files", None)
    inventory = tmp_path / f"{name}.toml"
    inventory.write_text(tomlkit.dumps(toml))
    assert load_site(inventory).fleet.site.name == name


def test_groups_are_the_roles_of_provisioned_hosts_and_nothing_else(
    write: Callable[..., Path], lab_config: LabConfig
) -> None:
    inventory = write()
    save(lab_config.root / "site/lock.json", Lock(hosts={"release-1": LOCKED, "web-1": LOCKED}))
    exported = groups(str(inventory), ["pyinfra", str(inventory), "deploys/site.py"])
    assert {group: [name for name, _ in hosts] for group, hosts in exported.items()} == {
        "release": ["release-1"],
        "web": ["web-1"],
    }
    data = exported["release"][0][1]
    assert data["ssh_hostname"] == LOCKED.ipv4
    assert data["ssh_strict_host_key_checking"] == "yes"
    assert Path(data["ssh_known_hosts_file"]).read_text() == known_hosts(load_site(inventory).lock)


def test_a_lab_that_is_down_is_told_as_such(write: Callable[..., Path], lab_config: LabConfig) -> None:
    inventory = write()
    shutil.rmtree(lab_config.root / "site")
    with pytest.raises(InputError, match=r"site\.files: .* is not there\n  the local cloud makes it: `bin/rehearse`"):
        groups(str(inventory), ["pyinfra", str(inventory), "deploys/site.py"])


def test_a_role_deploy_connects_to_its_own_group_only(write: Callable[..., Path], lab_config: LabConfig) -> None:
    inventory = write()
    save(lab_config.root / "site/lock.json", Lock(hosts={"release-1": LOCKED}))
    assert set(groups(str(inventory), ["pyinfra", str(inventory), "deploys/release.py"])) == {"release"}


def test_provisioning_connects_to_no_host(write: Callable[..., Path]) -> None:
    inventory = write()
    exported = groups(str(inventory), ["pyinfra", str(inventory), "deploys/provision.py"])
    assert [name for hosts in exported.values() for name, _ in hosts] == ["@local"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"\xff", "Not OpenSSH private key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "Not OpenSSH private key"),
    ],
)
@pytest.mark.parametrize("deploy", ["provision", "web"])
def test_a_key_that_cannot_be_read_stops_pyinfra_before_it_connects(
    write: Callable[..., Path], lab_config: LabConfig, deploy: str, content: bytes | None, problem: str
) -> None:
    inventory, key = write(), lab_config.root / "site/id_ed25519"
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(InputError, match=rf"\.toml: site\.ssh_key: {key} cannot be loaded: .*{problem}"):
        groups(str(inventory), ["pyinfra", str(inventory), f"deploys/{deploy}.py"])


def machines(document: Any) -> None:
    for name in list(document["hosts"]):
        document["hosts"].pop(name)
    document["hosts"] = {"own-1": OWN}


def test_a_machine_of_ones_own_is_reached_where_it_is_declared(write: Callable[..., Path]) -> None:
    inventory = write(machines)
    ((name, data),) = groups(str(inventory), ["pyinfra", str(inventory), "deploys/web.py"])["web"]
    assert (name, data["ssh_hostname"]) == ("own-1", "192.0.2.1")
    assert Path(data["ssh_known_hosts_file"]).read_text() == f"own-1,192.0.2.1 {KEY}\n"


def test_machines_of_ones_own_are_not_provisioned(write: Callable[..., Path]) -> None:
    inventory = write(machines)
    with pytest.raises(InputError, match="machines of your own, which no provider makes\n  deploy them as they are"):
        groups(str(inventory), ["pyinfra", str(inventory), "deploys/provision.py"])


def test_provisioning_of_some_hosts_is_refused(write: Callable[..., Path]) -> None:
    inventory = write()
    with pytest.raises(InputError, match="--limit: web-1: provisioning works on the site as a whole"):
        groups(str(inventory), ["pyinfra", str(inventory), "deploys/provision.py", "--limit", "web-1"])


def test_a_limit_that_matches_no_host_of_a_deploy_is_refused(write: Callable[..., Path], lab_config: LabConfig) -> None:
    inventory = write()
    save(lab_config.root / "site/lock.json", Lock(hosts={"web-1": LOCKED}))
    with pytest.raises(
        InputError, match=r"--limit: web-2: matches no host\n  hosts of this deploy are: web-1; groups: "
    ):
        groups(str(inventory), ["pyinfra", str(inventory), "deploys/web.py", "--limit", "web-2"])


def test_an_unprovisioned_host_stops_pyinfra_before_it_connects(write: Callable[..., Path]) -> None:
    inventory = write()
    done = subprocess.run(
        [PYINFRA, inventory, "deploys/web.py", "-y"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "not provisioned yet: web-1" in done.stderr
    assert "deploys/provision.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_group_stops_the_deploy(write: Callable[..., Path]) -> None:
    inventory = write(lambda document: document["hosts"].pop("web-1"))
    with pytest.raises(InputError, match="no host has the role 'web'"):
        groups(str(inventory), ["pyinfra", str(inventory), "deploys/web.py"])


def test_a_damaged_lock_file_is_named(write: Callable[..., Path], lab_config: LabConfig) -> None:
    inventory = write()
    (lab_config.root / "site/lock.json").write_text('{"hosts": {"web-1": {"ipv4": 3}}}')
    with pytest.raises(InputError, match=r"lock\.json: hosts\.web-1\.instance_id"):
        groups(str(inventory), ["pyinfra", str(inventory), "deploys/web.py"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ipv4": "10.64.0"}, "ipv4"),
        ({"ipv6": "10.64.0.10"}, "ipv6"),
        ({"vpc_ipv4": {"internal": "x"}}, "vpc_ipv4.internal"),
        ({"host_keys": ["ssh-ed25519 AAAA"]}, "host_keys.0"),
    ],
)
def test_a_lock_file_that_no_host_could_be_reached_by_is_refused(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    save(tmp_path / "lock.json", Lock(hosts={"web-1": LOCKED}))
    held = json.loads((tmp_path / "lock.json").read_text())
    held["hosts"]["web-1"] |= change
    (tmp_path / "lock.json").write_text(json.dumps(held))
    with pytest.raises(InputError) as caught:
        load(tmp_path / "lock.json")
    assert caught.value.field == f"hosts.web-1.{field}"


def test_a_host_that_is_being_made_has_no_address_yet(tmp_path: Path) -> None:
    lock = Lock(hosts={"web-1": LockedHost(instance_id="", ipv4="", first_contact_key=KEY)})
    save(tmp_path / "lock.json", lock)
    assert load(tmp_path / "lock.json") == lock


def test_a_lock_file_reads_back_as_written(tmp_path: Path) -> None:
    lock = Lock(hosts={"web-1": LOCKED}, vpcs={"internal": "2"})
    save(tmp_path / "lock.json", lock)
    assert load(tmp_path / "lock.json") == lock


def test_on_the_control_host_a_site_has_that_hosts_folder_account_and_keys(
    write: Callable[..., Path], lab_config: LabConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, inventory = tmp_path / "control", write()
    folder.mkdir()
    (folder / "admins.toml").write_text(ADMINS)
    (folder / "age_key").write_text(new_age())
    public = public_age((folder / "age_key").read_text())
    for path, value in ((lab_config.root / "site", "the admins'"), (folder, "its own")):
        readers = {"control": [public]} if path == folder else {"lab": [KEY]}
        secrets.write(path / "secrets.age", {"token": secrets.encrypt(path, "token", value, readers, ["control"])})
    monkeypatch.setenv("MAINSTAY_CONTROL", str(folder))
    monkeypatch.setenv(identities.VARIABLE, str(lab_config.root / "site/id_ed25519"))
    site = load_site(inventory)
    assert (site.files, site.ssh_user, site.ssh_key) == (folder, "control", folder / "ssh_key")
    assert site.secrets["token"].get_secret_value() == "its own"
    assert state(site) == Path("/srv/control/ledgers")
    kept = tmp_path / "kept-drills/261126-1403-x7k2/drill.toml"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(inventory.with_suffix(".toml").read_bytes())
    assert load_site(kept).control is None
    monkeypatch.delenv("MAINSTAY_CONTROL")
    assert load_site(inventory).ssh_user == "lab"
    assert state(load_site(inventory)) == lab_config.root / "site/ledgers"
