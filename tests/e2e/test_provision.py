"""Provisioning makes what exists what is declared, tells what it cannot, and removes only what is named."""

import contextlib
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud import actual
from cloud.converge import REPOSITORY, command
from inventories.inventory import load_site
from lab.engine import LabConfig
from tests.small_site import SmallSite, small_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture
def small(lab: LabConfig, tmp_path: Path) -> Iterator[SmallSite]:
    yield from small_site(lab, tmp_path)


def test_dry_touches_nothing(small: SmallSite) -> None:
    words = [word for word in command(small.inventory, "provision", "--dry") if word != "-y"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "+ host/web-1: vc2-1c-1gb in ams" in done.stderr + done.stdout
    assert "a month, without volumes and backups" in done.stderr + done.stdout
    assert not load_site(small.inventory).lock_path.exists()
    assert small.seen() == actual.Actual(catalogue=small.seen().catalogue)


def test_an_admin_who_is_asked_and_says_yes_gets_the_site(small: SmallSite) -> None:
    words = [word for word in command(small.inventory, "provision") if word != "-y"]
    terminal, theirs = pty.openpty()
    with subprocess.Popen(words, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs) as pyinfra:
        os.close(theirs)
        said = b""
        while b"enter to execute" not in said.lower():
            said += os.read(terminal, 4096)
        os.write(terminal, b"\n")
        # A terminal whose last writer is gone answers EIO.
        with contextlib.suppress(OSError):
            while text := os.read(terminal, 4096):
                said += text
    os.close(terminal)
    assert pyinfra.returncode == 0, said.decode()
    small.must_be_whole()


def test_an_unknown_plan_stops_before_anything_is_created(small: SmallSite) -> None:
    small.edit(lambda text: text.replace("vc2-1c-1gb", "vc9-1c-1gb"))
    done = small.provision()
    assert not done.ok
    assert (
        f"{small.inventory.with_suffix('.toml')}: hosts.web-1.plan: the provider has no plan 'vc9-1c-1gb'"
        in done.output
    )
    assert "Traceback" not in done.output
    assert small.seen() == actual.Actual(catalogue=small.seen().catalogue)


def test_drift_is_put_right_and_told(small: SmallSite) -> None:
    assert small.provision().ok
    (host,), (group,) = small.seen().instances, small.seen().firewalls
    small.api.change(f"/instances/{host.id}", label="other", tags=["mainstay:" + small.name + ":web-1"])
    small.api.remove(f"/firewalls/{group.id}/rules/{group.rules[0].id}")
    stray = {"ip_type": "v4", "protocol": "tcp", "port": "8080", "subnet": "0.0.0.0", "subnet_size": 0}
    small.api.post(f"/firewalls/{group.id}/rules", **stray)
    small.edit(lambda text: text.replace("size_gb = 10", "size_gb = 12"))
    done = small.provision()
    assert done.ok, done.output
    assert small.seen().blocks[0].size_gb == 12
    small.must_be_whole()
    small.edit(lambda text: text.replace("size_gb = 12", "size_gb = 10").replace('"admins"', '"all admins"'))
    told = small.provision()
    assert told.changed == ()
    assert "volume/web-1/content: has 12 GB, declared 10: volumes cannot shrink" in told.output
    assert "tcp 22 from 0.0.0.0/0 has the notes 'admins', declared 'all admins'" in told.output


def test_what_lost_its_mark_is_known_by_the_lock_and_nothing_is_made_twice(small: SmallSite) -> None:
    assert small.provision().ok
    before = small.seen()
    small.api.change(f"/instances/{before.instances[0].id}", tags=[])
    small.api.change(f"/blocks/{before.blocks[0].id}", label="renamed")
    small.api.put(f"/vpcs/{before.vpcs[0].id}", description="renamed")
    small.api.put(f"/firewalls/{before.firewalls[0].id}", description="renamed")
    done = small.provision()
    assert done.ok, done.output
    for line in ("host/web-1: tags", "volume/web-1/content: label", "vpc/internal: desc", "firewall/public-web: desc"):
        assert f"~ {line}" in done.output
    assert small.seen() == before
    small.must_be_whole()


@pytest.mark.full
def test_a_live_hosts_vpc_plan_and_backups_become_as_declared(small: SmallSite) -> None:
    assert small.provision().ok
    toml = small.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(toml.read_text())
    old = document["vpcs"].pop("internal").unwrap()
    document["vpcs"]["inside"] = {"region": old["region"], "subnet": old["subnet"].replace("10.30.", "10.31.")}
    document["hosts"]["web-1"] |= {"vpcs": ["inside"], "snapshots": True, "plan": "vc2-2c-4gb"}
    toml.write_text(tomlkit.dumps(document))

    done = small.provision()
    assert done.ok, done.output
    assert "plan is 'vc2-1c-1gb', declared 'vc2-2c-4gb'; to change it, with a reboot: --data" in done.output
    (private,) = load_site(small.inventory).lock.hosts["web-1"].vpc_ipv4.values()
    assert private.startswith("10.31.")
    addresses = small.ssh("ip -4 -br address").stdout
    assert private in addresses
    assert "10.30." not in addresses

    for switch in ("resize=host/web-1", "remove=vpc/internal"):
        done = small.provision("--data", switch)
        assert done.ok, done.output
        assert small.ssh("true").returncode == 0
    (host,), (vpc,) = small.seen().instances, small.seen().vpcs
    assert (host.plan, host.vpcs) == ("vc2-2c-4gb", {vpc.id: private})
    assert "auto_backups" in host.features
    assert small.ssh("df --output=size -BG / | tail -1").stdout.strip() >= "75G"
    again = small.provision()
    assert again.changed == (), again.output


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


def test_a_boot_that_cloud_init_takes_for_the_first_makes_no_account_and_no_key(small: SmallSite) -> None:
    """As one at which the provider's metadata does not answer."""
    assert small.provision().ok
    small.ssh("echo 'datasource_list: [None]' | sudo tee /etc/cloud/cloud.cfg.d/99-none.cfg")
    people = small.ssh("getent passwd").stdout
    before = small.ssh("cat /proc/sys/kernel/random/boot_id").stdout
    small.api.post(f"/instances/{small.seen().instances[0].id}/reboot")
    until("a boot", lambda: small.ssh("cat /proc/sys/kernel/random/boot_id").stdout not in ("", before))
    small.ssh("sudo cloud-init status --wait")
    assert "DataSourceNone" in small.ssh("cat /run/cloud-init/result.json").stdout
    assert small.ssh("getent passwd").stdout == people
    small.must_be_whole()


def test_a_host_goes_only_when_named_with_its_volume_and_leaves_nothing(small: SmallSite) -> None:
    assert small.provision().ok
    spare = '[hosts.spare]\nrole = "base"\nplan = "vc2-1c-1gb"\nregion = "ams"\n'
    small.edit(lambda text: text.split("[hosts.web-1]")[0] + spare)
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
