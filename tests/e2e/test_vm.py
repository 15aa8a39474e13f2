"""A virtual machine of the lab: made by the API's call as any host is, with a kernel, USB and a console of its own."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import kvm, lifecycle, network, vm_image
from lab.engine import LabConfig
from lab.folder import Folder
from lab.hosts import LabEngine
from lab.vm import Vm
from tests.lab_hosts import Host, LabCloud, cloud
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(3000)]

PLAN = "voc-c-1c-2gb-25s-amd"
BOOT_TIMEOUT_S = 1200
"""Half a minute on a machine that does nothing else, without KVM."""
SAY_TIMEOUT_S = 300
WRITING = "while :; do dd if=/dev/urandom of=/root/torn bs=64k count=64; mv /root/torn /root/whole; done"


@pytest.fixture(scope="module")
def api(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    vm_image.build()
    yield from cloud(lab, tmp_path_factory.mktemp("vm"))


@pytest.fixture(scope="module")
def host(api: LabCloud) -> Host:
    return api.ready(api.begin("vm", plan=PLAN), timeout_s=BOOT_TIMEOUT_S)


@pytest.fixture(scope="module")
def vm(lab: LabConfig, host: Host) -> Vm:
    return Vm(lab, host.id)


def root(host: Host, command: str, *, check: bool = True) -> str:
    return host.ssh(command, check=check, timeout_s=SAY_TIMEOUT_S).strip()


def usb(host: Host, field: str) -> list[str]:
    """What the devices on its USB say of themselves there."""
    return root(host, f"cat /sys/bus/usb/devices/*/{field}", check=False).splitlines()


def greets(host: Host) -> bool:
    try:
        with socket.create_connection((host.ipv4, 22), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def test_a_vm_is_made_by_the_same_call_as_any_host_and_has_done_the_same_first_boot(host: Host) -> None:
    assert root(host, "hostname") == "vm"
    assert root(host, "cloud-init status --wait") == "status: done"
    assert "DataSourceVultr" in root(host, "cat /run/cloud-init/result.json")
    assert root(host, "systemctl is-system-running --wait") == "running"
    assert root(host, "cat /etc/debian_version").startswith("13")
    assert root(host, "cat /etc/machine-id") == host.id.replace("-", "")
    assert root(host, "curl -s http://169.254.169.254/v1/instance-v2-id") == host.id
    assert host.ipv4 in root(host, "networkctl status eth0")
    assert int(root(host, "df --output=size -BG / | tail -1").rstrip("G")) > 22


def test_its_kernel_is_its_own_and_locked_down(host: Host) -> None:
    assert root(host, "uname -r") != os.uname().release
    assert "lockdown=integrity" in root(host, "cat /proc/cmdline")
    assert "[integrity]" in root(host, "cat /sys/kernel/security/lockdown")
    ours = Path("/proc/sys/kernel/panic").read_text().strip()
    root(host, "sysctl -w kernel.panic=77")
    assert root(host, "sysctl -n kernel.panic") == "77"
    assert Path("/proc/sys/kernel/panic").read_text().strip() == ours


def test_kvm_is_used_where_a_guest_of_it_has_said_something_and_nowhere_else(lab: LabConfig, host: Host) -> None:
    image = vm_image.folder_of(Folder.of(lab, host.id).image)
    runs = kvm.usable(image / "vmlinuz")
    assert root(host, "systemd-detect-virt") == ("kvm" if runs else "qemu")
    if kvm.DEVICE.exists():
        assert json.loads(kvm.FOUND.read_text())["runs"] is runs


def test_what_is_plugged_into_its_usb_is_seen_and_gone_when_pulled_out(host: Host, vm: Vm, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.write_bytes(b"from the stick".ljust(2**20, b"\0"))
    vm.plug_stick("stick", stick, "S-0001")
    vm.plug_keyboard("keyboard")
    until("both devices", lambda: "S-0001" in usb(host, "serial") and "QEMU USB Keyboard" in usb(host, "product"))
    disk = "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_S-0001-0:0"
    until(
        "its disk", lambda: "from the stick" in root(host, f"head -c 14 {disk}", check=False), timeout_s=SAY_TIMEOUT_S
    )
    vm.unplug("stick")
    vm.unplug("keyboard")
    until("neither", lambda: not {"S-0001", "QEMU USB Keyboard"} & {*usb(host, "serial"), *usb(host, "product")})
    vm.plug_stick("stick", stick, "S-0002")
    until("it again", lambda: "S-0002" in usb(host, "serial"))
    vm.unplug("stick")


def test_a_redirected_device_is_asked_who_it_is_and_can_be_pulled_out(vm: Vm, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as device:
        device.bind(str(tmp_path / "usb"))
        device.listen()
        device.settimeout(SAY_TIMEOUT_S)
        for _ in range(2):
            vm.plug_redirected("device", tmp_path / "usb")
            connection, _ = device.accept()
            with connection:
                connection.settimeout(SAY_TIMEOUT_S)
                assert b"qemu usb-redir guest" in connection.recv(256)
                vm.unplug("device")
                until("the end of the connection", lambda: not connection.recv(256))  # noqa: B023


def test_the_groups_rules_are_in_front_of_it(api: LabCloud, host: Host) -> None:
    group = api("POST", "/firewalls", {"description": "vm"})["firewall_group"]["id"]
    api("PATCH", f"/instances/{host.id}", {"firewall_group_id": group})
    assert not greets(host)
    rule = {"ip_type": "v4", "protocol": "tcp", "subnet": "0.0.0.0", "subnet_size": 0, "port": "22"}
    api("POST", f"/firewalls/{group}/rules", rule)
    until("sshd greets", lambda: greets(host), timeout_s=SAY_TIMEOUT_S)
    api("DELETE", f"/firewalls/{group}")


def test_block_storage_comes_grows_and_goes_while_it_runs(api: LabCloud, host: Host) -> None:
    block = api("POST", "/blocks", {"region": "ams", "size_gb": 10, "label": "data"})["block"]
    api("POST", f"/blocks/{block['id']}/attach", {"instance_id": host.id, "live": True})
    device = f"/dev/disk/by-id/virtio-{block['mount_id']}"
    until("the device", lambda: root(host, f"readlink -f {device}", check=False) == "/dev/vdb", timeout_s=SAY_TIMEOUT_S)
    root(host, f"mkfs.ext4 -q {device}")
    api("PATCH", f"/blocks/{block['id']}", {"size_gb": 20})
    size = f"blockdev --getsize64 {device}"
    until("its new size", lambda: root(host, size) == str(20 * 2**30), timeout_s=SAY_TIMEOUT_S)
    api("POST", f"/blocks/{block['id']}/detach", {"live": True})
    until("no device", lambda: not root(host, "ls /dev/vdb", check=False), timeout_s=SAY_TIMEOUT_S)
    api("DELETE", f"/blocks/{block['id']}")


def test_what_it_is_not_offered_is_refused_and_nothing_changes(api: LabCloud, host: Host) -> None:
    refused = api.raw("POST", "/lab/faults", {"kind": "full_disk", "instance": "vm"})
    assert (refused.status_code, "do it inside" in refused.text) == (500, True)
    assert api.raw("GET", "/lab/faults").json() == {"faults": []}
    refused = api.raw("PATCH", f"/v2/instances/{host.id}", {"enable_vpc": True})
    assert (refused.status_code, "only while it is off" in refused.text) == (500, True)
    assert api("GET", f"/instances/{host.id}/vpcs")["vpcs"] == []


def test_a_snapshot_of_it_as_it_runs_becomes_another_vm(lab: LabConfig, api: LabCloud, host: Host) -> None:
    root(host, "echo kept > /root/kept; sync")
    snapshot = api("POST", "/snapshots", {"instance_id": host.id})["snapshot"]["id"]
    path = f"/snapshots/{snapshot}"
    until("a complete snapshot", lambda: api("GET", path)["snapshot"]["status"] == "complete", timeout_s=SAY_TIMEOUT_S)
    assert api("GET", path)["snapshot"]["size"] > 0
    copy = api.ready(api.begin("copy", plan=PLAN, os_id=None, snapshot_id=snapshot), timeout_s=BOOT_TIMEOUT_S)
    assert root(copy, "cat /root/kept") == "kept"
    assert root(copy, "hostname") == "copy"
    assert root(copy, "cat /etc/machine-id") == copy.id.replace("-", "")
    as_container = api.begin("container", os_id=None, snapshot_id=snapshot)
    until("a refusal", lambda: "hosts of its own kind" in _error(lab, as_container))
    api("DELETE", f"/instances/{copy.id}")
    api("DELETE", f"/instances/{as_container}")


def _error(lab: LabConfig, instance_id: str) -> str:
    return next(str(host["error"]) for host in lifecycle.status(lab.name)["hosts"] if host["id"] == instance_id)


def test_power_lost_in_the_midst_of_writing_it_boots_and_without_a_network_is_driven_by_its_console(
    lab: LabConfig, api: LabCloud, host: Host, vm: Vm
) -> None:
    root(host, f'systemd-run --unit=writing sh -c "{WRITING}"')
    until("a first round", lambda: root(host, "ls /root/whole", check=False), timeout_s=SAY_TIMEOUT_S)
    root(host, "echo safe | dd of=/root/safe conv=fsync; sync /root")
    LabEngine(lab).stop(host.id, force=True)
    assert api.show(host.id)["power_status"] == "stopped"
    vm.offline()
    api("POST", f"/instances/{host.id}/start")
    until("a VM", lambda: LabEngine(lab).status(host.id).running)
    with vm.console() as console:
        console.enter(BOOT_TIMEOUT_S)
        assert console.run("cat /root/safe") == (0, "safe\n")
        assert console.run("ls /sys/class/net") == (0, "lo\n")
        assert console.run("false")[0] == 1
        assert "recovery complete" in console.run("dmesg")[1]
        console.type("poweroff\n")
        # A line that is hung up loses what was typed and not read yet; one that nobody reads holds the VM up.
        console.wait_for("Power down", SAY_TIMEOUT_S)
    until("it is off", lambda: not LabEngine(lab).status(host.id).running, timeout_s=SAY_TIMEOUT_S)
    assert "Power down" in vm.log.read_text(errors="replace")


def test_nothing_of_it_is_left_once_it_is_deleted(lab: LabConfig, api: LabCloud, host: Host) -> None:
    folder = Folder.of(lab, host.id).path
    assert network.links(lab, host.id) or LabEngine(lab).status(host.id).running or folder.exists()
    api("DELETE", f"/instances/{host.id}")
    until("no such instance", lambda: api.raw("GET", f"/v2/instances/{host.id}").status_code == 404)
    until("no folder", lambda: not folder.exists(), timeout_s=SAY_TIMEOUT_S)
    assert network.links(lab, host.id) == {}
    assert [process for process in Path("/proc").glob("[0-9]*/cmdline") if _names(process, host.id)] == []


def _names(command_line: Path, word: str) -> bool:
    try:
        return word.encode() in command_line.read_bytes()
    except OSError:
        return False
