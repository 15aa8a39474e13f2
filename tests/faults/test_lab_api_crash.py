"""The lab's API process killed at its worst moments: no host is lost, none is made twice, and `down` leaves nothing."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from lab import lifecycle
from lab.engine import LabConfig
from lab.lifecycle import LABS
from tests.lab_hosts import Host, LabCloud, cloud
from tests.labs import lab_name, own_lab
from tests.waiting import until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def api(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    yield from cloud(lab, tmp_path_factory.mktemp("lab-crash"))


@pytest.fixture(autouse=True)
def alive(lab: LabConfig) -> None:
    """Each test finds the API up, whatever the one before left."""
    lifecycle.up(lab.name)


def daemon_pid(config: LabConfig) -> int:
    return int((config.root / "daemon.pid").read_text())


def again(api: LabCloud) -> None:
    """The API's process is gone; a new one is started."""
    gone(daemon_pid(api.config))
    assert not lifecycle.answers(api.config)
    lifecycle.up(api.config.name)


def gone(pid: int) -> None:
    """Waits until a process has ended."""

    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    until(f"the end of process {pid}", ended)


def crash_at(api: LabCloud, point: str, action: str) -> None:
    fault = {"kind": "crash", "point": point, "action": action}
    assert api.raw("POST", "/lab/faults", fault).status_code == 201


def test_hosts_go_on_while_the_api_is_dead_and_are_listed_when_it_is_back(api: LabCloud) -> None:
    host = api.host("steady")
    boot = host.ssh("cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1")
    os.kill(daemon_pid(api.config), signal.SIGKILL)
    again(api)
    assert [i["id"] for i in api("GET", "/instances?label=steady")["instances"]] == [host.id]
    assert host.ssh("cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1") == boot
    assert lifecycle.status(api.config.name)["hosts"][0]["state"] == "running"
    api("DELETE", f"/instances/{host.id}")


@pytest.mark.parametrize("point", ["recorded", "acted"])
def test_an_instance_in_the_making_is_made_once_after_a_kill(api: LabCloud, point: str) -> None:
    crash_at(api, point, "create")
    label = f"made-{point}"
    with contextlib.suppress(requests.RequestException):
        api.begin(label)
    again(api)
    (made,) = api("GET", f"/instances?label={label}")["instances"]
    assert api.ready(made["id"]).ssh("hostname").strip() == label
    assert len(api("GET", f"/instances?label={label}")["instances"]) == 1
    api("DELETE", f"/instances/{made['id']}")


ACTIONS: dict[str, Callable[[LabCloud, str], requests.Response]] = {
    "delete": lambda api, host: api.raw("DELETE", f"/v2/instances/{host}"),
    "reinstall": lambda api, host: api.raw("POST", f"/v2/instances/{host}/reinstall", {}),
    "reboot": lambda api, host: api.raw("POST", f"/v2/instances/{host}/reboot"),
    "snapshot": lambda api, host: api.raw("POST", "/v2/snapshots", {"instance_id": host}),
}


@pytest.mark.parametrize(
    ("action", "point"),
    [
        ("delete", "recorded"),
        ("reinstall", "acted"),
        *(
            pytest.param(action, point, marks=pytest.mark.full)
            for action, point in (
                ("delete", "acted"),
                ("reinstall", "recorded"),
                ("reboot", "recorded"),
                ("reboot", "acted"),
                ("snapshot", "recorded"),
                ("snapshot", "acted"),
            )
        ),
    ],
)
def test_what_was_begun_before_a_kill_is_ended_after_it(api: LabCloud, action: str, point: str) -> None:
    instance = api.host(f"{action}-{point}").id
    crash_at(api, point, action)
    with contextlib.suppress(requests.RequestException):
        # Killed before it could answer or not: begun all the same.
        assert ACTIONS[action](api, instance).ok
    again(api)
    if action == "delete":
        until("no such host", lambda: api.raw("GET", f"/v2/instances/{instance}").status_code == 404)
        until("no trace of it", lambda: not (api.config.root / "hosts" / instance).exists())
        return
    if action == "snapshot":
        until("a snapshot", lambda: [s["status"] for s in api("GET", "/snapshots")["snapshots"]] == ["complete"])
        api("DELETE", f"/snapshots/{api('GET', '/snapshots')['snapshots'][0]['id']}")
    api.ready(instance)
    api("DELETE", f"/instances/{instance}")


@pytest.mark.parametrize("point", ["recorded", pytest.param("acted", marks=pytest.mark.full)])
def test_a_volume_being_attached_is_attached_after_a_kill(api: LabCloud, point: str) -> None:
    host = api.host(f"volume-{point}")
    block = api("POST", "/blocks", {"region": "ams", "size_gb": 10})["block"]
    crash_at(api, point, "attach block")
    with pytest.raises(requests.RequestException):
        api.raw("POST", f"/v2/blocks/{block['id']}/attach", {"instance_id": host.id, "live": True})
    again(api)
    path = f"/blocks/{block['id']}"
    until("attached", lambda: api("GET", path)["block"]["attached_to_instance"] == host.id)
    until("the device", lambda: host.ssh(f"ls /dev/disk/by-id/virtio-{block['mount_id']}", check=False))
    api("DELETE", f"/instances/{host.id}")
    until("detached", lambda: api("GET", path)["block"]["attached_to_instance"] == "")
    api("DELETE", path)


def test_a_volume_that_could_not_be_deleted_does_not_keep_the_api_from_starting(api: LabCloud) -> None:
    host = api.host("busy")
    block = api("POST", "/blocks", {"region": "ams", "size_gb": 10})["block"]
    path = f"/blocks/{block['id']}"
    api("POST", f"{path}/attach", {"instance_id": host.id, "live": True})
    device = f"/dev/disk/by-id/virtio-{block['mount_id']}"
    host.ssh(f"mkfs.ext4 -q {device}; mount {device} /mnt; tail -f /dev/null >/mnt/held 2>&1 </dev/null &")
    refused = api.raw("DELETE", f"/v2{path}")
    assert (refused.status_code, "target is busy" in refused.json()["error"]) == (500, True)
    os.kill(daemon_pid(api.config), signal.SIGKILL)
    again(api)
    assert api("GET", path)["block"]["attached_to_instance"] == host.id
    assert host.ssh("findmnt -n -o TARGET /mnt").strip() == "/mnt"
    api("DELETE", f"/instances/{host.id}")
    until("detached", lambda: api("GET", path)["block"]["attached_to_instance"] == "")
    api("DELETE", path)


@pytest.mark.full
def test_a_running_host_that_never_asked_for_its_metadata_is_left_alone(api: LabCloud) -> None:
    original = api.host("silent")
    original.ssh("touch /etc/cloud/cloud-init.disabled")
    snapshot = api("POST", "/snapshots", {"instance_id": original.id})["snapshot"]["id"]
    until("a snapshot", lambda: api("GET", f"/snapshots/{snapshot}")["snapshot"]["status"] == "complete")
    copy = api("POST", "/instances", {"region": "ams", "plan": "vc2-1c-1gb", "snapshot_id": snapshot})["instance"]["id"]
    until("it runs", lambda: api.show(copy)["status"] == "active")
    host = Host(copy, "silent", api.show(copy)["main_ip"], "", api.folder)
    until("ssh to it", host.answers)
    host.ssh("echo mine >/root/kept")
    os.kill(daemon_pid(api.config), signal.SIGKILL)
    again(api)
    assert host.ssh("cat /root/kept").strip() == "mine"
    assert api.show(copy)["server_status"] == "installingbooting"
    for instance in (copy, original.id):
        api("DELETE", f"/instances/{instance}")
    api("DELETE", f"/snapshots/{snapshot}")


def traces(config: LabConfig) -> str:
    """What of a lab is left on this machine."""
    found = []
    for command in ("ip -o link", "ip netns", "nft list tables", "losetup -a", "cat /proc/mounts", "ps -eww -o args"):
        done = subprocess.run(command.split(), text=True, capture_output=True, check=True)
        marks = (f" {config.prefix}-", f" {config.prefix}:", f"{config.root}/", f"lab.daemon {config.name}")
        lines = [line for line in done.stdout.splitlines() if any(mark in f" {line} " for mark in marks)]
        found += [f"{command}: {line}" for line in lines]
        if command == "nft list tables" and f" {config.prefix}\n" in done.stdout:
            found.append(f"nft table {config.prefix}")
    return "\n".join(found)


@pytest.mark.full
def test_down_leaves_nothing_after_a_kill_and_when_run_twice(tmp_path: Path) -> None:
    name = lab_name("down")
    lifecycle.down(name)
    config = lifecycle.up(name)
    api = LabCloud(config, tmp_path)
    vpc = api("POST", "/vpcs", {"region": "ams"})["vpc"]["id"]
    host = api.host("left", attach_vpc=[vpc])
    block = api("POST", "/blocks", {"region": "ams", "size_gb": 10})["block"]["id"]
    api("POST", f"/blocks/{block}/attach", {"instance_id": host.id, "live": True})
    assert traces(config)
    crash_at(api, "recorded", "create")
    with contextlib.suppress(requests.RequestException):
        api.begin("half-made")
    gone(daemon_pid(config))
    lifecycle.down(name)
    assert traces(config) == ""
    assert not config.root.exists()
    lifecycle.down(name)
    assert lifecycle.status(name) == {"name": name, "state": "down", "hosts": []}
    assert (LABS.parent / "images").exists()


@pytest.mark.full
def test_two_labs_do_not_meet(api: LabCloud, tmp_path: Path) -> None:
    with own_lab("other") as config:
        other = LabCloud(config, tmp_path)
        assert other("GET", "/instances")["instances"] == []
        theirs, ours = other.host("same-name"), api.host("same-name")
        for host, stranger in ((theirs, ours), (ours, theirs)):
            for address in (stranger.ipv4, stranger.ipv6):
                assert host.ssh(f"ping -c1 -W2 {address} >/dev/null && echo yes", check=False) == ""
        assert theirs.ssh("curl -s http://169.254.169.254/v1/instance-v2-id") == theirs.id
        assert ours.ssh("curl -s http://169.254.169.254/v1/instance-v2-id") == ours.id
        refused = requests.get(f"{config.api_url}/account", headers=api._session.headers, timeout=60)
        assert refused.status_code == 401
        lifecycle.down(config.name)
        assert traces(config) == ""
        assert ours.answers()
    api("DELETE", f"/instances/{ours.id}")
