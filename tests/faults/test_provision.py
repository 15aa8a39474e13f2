"""Provisioning through every fault: afterwards exactly the declared things exist, once, and their hosts are trusted."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from cloud import actual, provision
from cloud.client import Client
from cloud.user_data import host_key
from inventories.inventory import load_site
from inventories.lock import save
from inventories.ssh import ssh_config
from lab import lifecycle
from lab.converge import REPOSITORY, Converged, command, converge
from lab.engine import LabConfig
from lab.sites import derive

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

NUMBERS = count(1)
FULL = pytest.mark.full


@dataclass
class SmallSite:
    """One host with everything a host can have, in the tests' lab but apart from its other sites."""

    name: str
    inventory: Path
    lab: LabConfig

    def provision(self, *options: str) -> Converged:
        return converge(self.inventory, "provision", *options)

    def kill(self, point: str) -> None:
        """Provisions, and dies at the point."""
        words = command(self.inventory, "provision")[1:]
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.provision_killed", point, *words],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, f"{point} was never reached:\n{done.stdout}{done.stderr}"

    @property
    def api(self) -> Client:
        return provision.client(load_site(self.inventory))

    def seen(self) -> actual.Actual:
        return actual.read(self.api, load_site(self.inventory).fleet)

    def ssh(self, *words: str) -> subprocess.CompletedProcess[str]:
        config = self.inventory.parent / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        return subprocess.run(["ssh", "-F", config, "web-1", *words], capture_output=True, text=True, check=False)

    def fault(self, kind: str, **values: Any) -> None:
        url = f"{self.lab.api_url.removesuffix('/v2')}/lab/faults"
        key = load_site(self.inventory).secrets["vultr_api_key"].get_secret_value()
        headers = {"Authorization": f"Bearer {key}"}
        answer = requests.post(url, json={"kind": kind, **values}, headers=headers, timeout=10)
        assert answer.ok, answer.text

    def must_be_whole(self) -> None:
        """Exactly the declared things, once; the lock says so; the host is reached by its pinned key; nothing is left
        to do, and no private key is left anywhere but on the host."""
        site, seen = load_site(self.inventory), self.seen()
        (host,), (block,), (vpc,), (group,) = seen.instances, seen.blocks, seen.vpcs, seen.firewalls
        locked = site.lock.hosts["web-1"]
        assert (locked.instance_id, locked.ipv4, locked.ipv6) == (host.id, host.main_ip, host.v6_main_ip)
        assert (locked.volumes, block.attached_to_instance) == ({"content": block.locked}, host.id)
        assert (site.lock.vpcs, site.lock.firewalls) == ({"internal": vpc.id}, {"public-web": group.id})
        assert locked.first_contact_key == ""
        names = sorted((r.name, r.type, r.data) for r in seen.records if r.type in ("A", "AAAA"))
        addresses = (("A", host.main_ip), ("AAAA", host.v6_main_ip))
        assert names == sorted((name, kind, data) for name in ("web-1", "www") for kind, data in addresses)
        assert len(group.rules) == 4
        assert self.api.get(f"/instances/{host.id}/user-data")["user_data"]["data"] == ""
        keys = self.ssh("sudo cat /etc/ssh/ssh_host_*_key.pub; sudo grep -rlsF 'PRIVATE KEY' /var/lib/cloud /run; true")
        assert keys.stdout.strip() == locked.host_keys[0], keys.stderr
        again = self.provision()
        assert again.ok, again.output
        assert again.changed == ()


@pytest.fixture(scope="module")
def lab() -> Iterator[LabConfig]:
    """A lab apart from that of the other tests, since faults strike all sites of one."""
    lifecycle.down("provision")
    yield lifecycle.up("provision")
    lifecycle.down("provision")


@pytest.fixture
def small(lab: LabConfig, tmp_path: Path) -> Iterator[SmallSite]:
    name = f"small-{next(NUMBERS)}"

    def change(document: Any) -> None:
        document["site"].update({"name": name, "domain": f"{name}.example.org", "files": str(tmp_path / "site")})
        del document["hosts"]["release-1"]
        document["hosts"]["web-1"]["dns"] = [f"www.{name}.example.org"]
        document["vpcs"]["internal"]["subnet"] = f"10.30.{name.removeprefix('small-')}.0/24"
        document["firewalls"]["public-web"]["rules"] = [
            {"protocol": "tcp", "port": "22", "notes": "admins"},
            {"protocol": "icmp"},
        ]

    shutil.copytree(lab.root / "site", tmp_path / "site", ignore=shutil.ignore_patterns("lock.json"))
    derive(lab, tmp_path, change)
    inventory = tmp_path / f"{name}.py"
    for suffix in (".py", ".toml"):
        (tmp_path / f"{lab.name}{suffix}").rename(inventory.with_suffix(suffix))
    site = SmallSite(name, inventory, lab)
    yield site
    requests.delete(
        f"{lab.api_url.removesuffix('/v2')}/lab/faults",
        headers={"Authorization": site.api._session.headers["Authorization"]},
        timeout=10,
    )
    seen = site.seen()
    for host in seen.instances:
        site.api.remove(f"/instances/{host.id}")
    for block in seen.blocks:
        site.api.remove(f"/blocks/{block.id}")


@pytest.mark.parametrize(
    "point",
    [
        "before POST /instances",
        "after POST /instances",
        "during use",
        pytest.param("after POST /vpcs", marks=FULL),
        pytest.param("after POST /firewalls", marks=FULL),
        pytest.param("after POST /firewalls/ID/rules", marks=FULL),
        pytest.param("after POST /domains", marks=FULL),
        pytest.param("lock 4", marks=FULL),
        pytest.param("lock 5", marks=FULL),
        pytest.param("before make", marks=FULL),
        pytest.param("during make", marks=FULL),
        pytest.param("after make", marks=FULL),
        pytest.param("before use", marks=FULL),
        pytest.param("after use", marks=FULL),
        pytest.param("after PATCH /instances/ID", marks=FULL),
        pytest.param("during scrub", marks=FULL),
        pytest.param("after scrub", marks=FULL),
        pytest.param("after POST /blocks", marks=FULL),
        pytest.param("before POST /blocks/ID/attach", marks=FULL),
        pytest.param("after POST /blocks/ID/attach", marks=FULL),
    ],
)
def test_killed_at_any_point_the_next_run_ends_with_everything_once(small: SmallSite, point: str) -> None:
    small.kill(point)
    done = small.provision()
    assert done.ok, done.output
    small.must_be_whole()


def test_a_storm_of_faults_leaves_everything_once(small: SmallSite) -> None:
    small.fault("rate_limit", times=5)
    for path in ("/vpcs", "/instances", "/blocks"):
        small.fault("lost_response", method="POST", path=path)
        small.fault("locked", method="POST", path=path)
    small.fault("timeout", method="GET", path="/instances", seconds=2)
    done = small.provision()
    assert done.ok, done.output
    small.must_be_whole()


@pytest.mark.full
@pytest.mark.parametrize("kind", ["rate_limit", "locked", "lost_response", "timeout"])
def test_a_fault_at_every_creation_leaves_everything_once(small: SmallSite, kind: str) -> None:
    for path in ("/vpcs", "/firewalls", "/domains", "/instances", "/blocks"):
        small.fault(kind, method="POST", path=path, times=2, seconds=2)
    done = small.provision()
    assert done.ok, done.output
    small.must_be_whole()


def test_two_runs_at_once_make_nothing_twice(small: SmallSite) -> None:
    words = command(small.inventory, "provision")
    runs = [subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in "ab"]
    assert 0 in [run.wait(120) for run in runs]
    small.must_be_whole()


def test_dry_touches_nothing(small: SmallSite) -> None:
    words = [word for word in command(small.inventory, "provision", "--dry") if word != "-y"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "+ host/web-1: vc2-1c-1gb in ams" in done.stderr + done.stdout
    assert not load_site(small.inventory).lock_path.exists()
    assert small.seen() == actual.Actual(catalogue=small.seen().catalogue)


def test_an_unknown_plan_stops_before_anything_is_created(small: SmallSite) -> None:
    edit(small, lambda text: text.replace("vc2-1c-1gb", "vc9-1c-1gb"))
    done = small.provision()
    assert not done.ok
    assert (
        f"{small.inventory.with_suffix('.toml')}: hosts.web-1.plan: the provider has no plan 'vc9-1c-1gb'"
        in done.output
    )
    assert "Traceback" not in done.output
    assert small.seen() == actual.Actual(catalogue=small.seen().catalogue)


def test_a_host_with_another_key_than_pinned_is_refused(small: SmallSite) -> None:
    done = small.provision()
    assert done.ok, done.output
    site = load_site(small.inventory)
    others = site.lock.hosts["web-1"].model_copy(update={"host_keys": (host_key().public,)})
    save(site.lock_path, site.lock.model_copy(update={"hosts": {"web-1": others}}))
    assert "Host key verification failed" in small.ssh("true").stderr
    words = [command(small.inventory, "provision")[0], str(small.inventory), "-y", "exec", "--", "true"]
    pyinfra = subprocess.run(
        words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert pyinfra.returncode != 0
    assert "unreachable: web-1" in pyinfra.stderr
    unfinished = others.model_copy(update={"first_contact_key": host_key().public})
    save(site.lock_path, site.lock.model_copy(update={"hosts": {"web-1": unfinished}}))
    refused = small.provision()
    assert not refused.ok
    assert "which is not the one in the lock" in refused.output


def test_drift_is_put_right_and_told(small: SmallSite) -> None:
    assert small.provision().ok
    (host,), (group,) = small.seen().instances, small.seen().firewalls
    small.api.change(f"/instances/{host.id}", label="other", tags=["mainstay:" + small.name + ":web-1"])
    small.api.remove(f"/firewalls/{group.id}/rules/{group.rules[0].id}")
    stray = {"ip_type": "v4", "protocol": "tcp", "port": "8080", "subnet": "0.0.0.0", "subnet_size": 0}
    small.api.post(f"/firewalls/{group.id}/rules", **stray)
    edit(small, lambda text: text.replace("size_gb = 10", "size_gb = 12"))
    done = small.provision()
    assert done.ok, done.output
    assert small.seen().blocks[0].size_gb == 12
    small.must_be_whole()
    edit(small, lambda text: text.replace("size_gb = 12", "size_gb = 10"))
    told = small.provision()
    assert told.changed == ()
    assert "volume/web-1/content: has 12 GB, declared 10: volumes cannot shrink" in told.output


def test_a_reinstalled_host_is_trusted_again_and_keeps_its_volume(small: SmallSite) -> None:
    assert small.provision().ok
    before = load_site(small.inventory).lock.hosts["web-1"]
    small.ssh("sudo touch /etc/lost; echo kept | sudo dd of=/dev/vdb status=none conv=fsync")
    done = small.provision("--data", "reinstall=host/web-1")
    assert done.ok, done.output
    after = load_site(small.inventory).lock.hosts["web-1"]
    assert (after.instance_id, after.volumes) == (before.instance_id, before.volumes)
    assert after.host_keys != before.host_keys
    assert small.ssh("ls /etc/lost; sudo head -c 4 /dev/vdb").stdout == "kept"
    small.must_be_whole()


def test_a_host_goes_only_when_named_with_its_volume_and_leaves_nothing(small: SmallSite) -> None:
    assert small.provision().ok
    spare = '[hosts.spare]\nrole = "base"\nplan = "vc2-1c-1gb"\nregion = "ams"\n'
    edit(small, lambda text: text.split("[hosts.web-1]")[0] + spare)
    kept = small.provision("--data", "remove=host/web-1")
    assert not kept.ok
    assert "it holds volume/web-1/content" in kept.output
    assert [actual.host_of(small.name, host) for host in small.seen().instances] == ["web-1"]
    done = small.provision("--data", "remove=host/web-1", "--data", "detach=volume/web-1/content")
    assert done.ok, done.output
    seen = small.seen()
    assert [actual.host_of(small.name, host) for host in seen.instances] == ["spare"]
    assert [block.label for block in seen.blocks] == [f"{small.name}/web-1/content"]
    assert {record.name for record in seen.records if record.type == "A"} == {"spare"}
    assert set(json.loads(load_site(small.inventory).lock_path.read_text())["hosts"]) == {"spare"}


def test_a_host_that_never_boots_is_named_and_the_others_are_finished(small: SmallSite) -> None:
    spare = '[hosts.spare]\nrole = "base"\nplan = "vc2-1c-1gb"\nregion = "ams"\n\n[settings.release]'
    edit(small, lambda text: text.replace("[settings.release]", spare))
    small.fault("never_boots", instance="spare")
    words = [sys.executable, "-c", IMPATIENT, *command(small.inventory, "provision")[1:]]
    done = subprocess.run(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "host/spare: " in done.stderr + done.stdout
    assert small.ssh("true").returncode == 0


IMPATIENT = """
import sys
from pyinfra_cli.main import main
from cloud import first_contact, hosts
hosts.BOOT_S = first_contact.BOOT_S = 10
main()
"""


def edit(small: SmallSite, change: Callable[[str], str]) -> None:
    toml = small.inventory.with_suffix(".toml")
    toml.write_text(change(toml.read_text()))
