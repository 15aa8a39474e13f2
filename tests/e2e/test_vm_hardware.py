"""What is done to a virtual machine from without, tried on one whose processor stands still: it costs next to nothing.

What the system inside makes of it is in test_vm.py.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import kvm, network, qemu, vm_image
from lab.command import run
from lab.console import NotSaid
from lab.engine import GIB, EngineError, Machine
from lab.folder import Folder
from lab.qmp import talk
from lab.vm import Vm
from tests.e2e.engine_hosts import EngineHosts, engine_lab
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[EngineHosts]:
    with engine_lab("vm") as found:
        yield found


@pytest.fixture(scope="module")
def machine(hosts: EngineHosts) -> Machine:
    made = still(hosts, 1, vpc="vpc-a")
    hosts.engine.create(made)
    hosts.engine.start(made)
    return made


@pytest.fixture
def vm(hosts: EngineHosts, machine: Machine) -> Vm:
    return Vm(hosts.config, machine.id)


def still(hosts: EngineHosts, number: int, *, boot: Any = "never", **changes: Any) -> Machine:
    return hosts.machine(number, kind="vm", boot=boot, memory_mb=512, **changes)


def monitor(hosts: EngineHosts, machine: Machine, command: str) -> str:
    """What QEMU tells a person."""
    with talk(qemu.qmp_of(Folder.of(hosts.config, machine.id))) as qmp:
        return str(qmp("human-monitor-command", command_line=command))


def size_of(path: Path) -> int:
    return int(json.loads(run("qemu-img", "info", "-U", "--output=json", path))["virtual-size"])


def test_it_is_on_the_wires_of_its_networks_beside_containers(hosts: EngineHosts, machine: Machine) -> None:
    assert hosts.engine.status(machine.id).running
    wires = sorted(network.links(hosts.config, machine.id).values())
    assert wires == sorted(network.bridge(hosts.config, nic.network) for nic in machine.nics)
    told = monitor(hosts, machine, "info network")
    assert all(nic.mac in told for nic in machine.nics)
    guard = run("nft", "list", "table", "bridge", hosts.config.prefix)
    assert f"ether saddr != {machine.nics[0].mac} drop" in guard


def test_usb_devices_are_plugged_in_and_pulled_out_without_a_hub_and_more_than_once(
    hosts: EngineHosts, machine: Machine, vm: Vm, tmp_path: Path
) -> None:
    stick = tmp_path / "stick"
    stick.write_bytes(bytes(2**20))
    for _ in range(2):
        vm.plug_stick("stick", stick, "S-0001")
        vm.plug_keyboard("keyboard")
        told = monitor(hosts, machine, "info usb")
        assert "QEMU USB MSD, ID: usb-stick" in told
        assert "QEMU USB Keyboard, ID: usb-keyboard" in told
        assert "Hub" not in told
        with pytest.raises(EngineError, match="usb-stick"):
            vm.plug_stick("stick", stick, "S-0001")
        assert "usb-stick" in monitor(hosts, machine, "info usb")
        vm.unplug("stick")
        vm.unplug("keyboard")
        assert monitor(hosts, machine, "info usb") == ""
    vm.unplug("stick")


def test_a_redirected_device_leaves_nothing_behind(
    hosts: EngineHosts, machine: Machine, vm: Vm, tmp_path: Path
) -> None:
    with pytest.raises(EngineError):
        vm.plug_redirected("device", tmp_path / "usb")
    with socket.socket(socket.AF_UNIX) as device:
        device.bind(str(tmp_path / "usb"))
        device.listen()
        device.settimeout(60)
        for _ in range(2):
            vm.plug_redirected("device", tmp_path / "usb")
            connection, _ = device.accept()
            with connection:
                connection.settimeout(60)
                vm.unplug("device")
                assert connection.recv(256) == b""
    assert "usb-device" not in monitor(hosts, machine, "info chardev")


def test_block_storage_is_a_disk_of_it_with_its_serial_live_and_after_a_start(
    hosts: EngineHosts, machine: Machine
) -> None:
    engine = hosts.engine
    engine.create_disk("data", 10)
    engine.attach_disk(machine.id, "data", "ams-0123456789abcd")
    engine.attach_disk(machine.id, "data", "ams-0123456789abcd")
    assert 'serial = "ams-0123456789abcd"' in monitor(hosts, machine, "info qtree")
    engine.resize_disk("data", 20)
    with talk(qemu.qmp_of(Folder.of(hosts.config, machine.id))) as qmp:
        sizes = {node["node-name"]: node["image"]["virtual-size"] for node in qmp("query-named-block-nodes")}
    assert sizes["disk-b"] == 20 * GIB
    with pytest.raises(EngineError, match="no such disk"):
        engine.attach_disk(machine.id, "absent", "serial")
    engine.stop(machine.id, force=True)
    engine.start(machine)
    assert 'serial = "ams-0123456789abcd"' in monitor(hosts, machine, "info qtree")
    engine.stop(machine.id, force=True)
    engine.detach_disk(machine.id, "data")
    engine.destroy_disk("data")
    engine.start(machine)
    assert "ams-0123456789abcd" not in monitor(hosts, machine, "info qtree")


def test_a_snapshot_is_a_copy_of_what_lies_over_the_image_and_becomes_a_larger_vm(
    hosts: EngineHosts, machine: Machine
) -> None:
    size = hosts.engine.create_snapshot(machine.id, "shot")
    assert 0 < size < GIB
    assert hosts.engine.create_snapshot(machine.id, "shot") == size
    assert hosts.engine.create_snapshot(machine.id, "again") > 0
    copy = still(hosts, 2, image="snapshot/shot", disk_gb=55)
    hosts.engine.create(copy)
    hosts.engine.start(copy)
    assert size_of(Folder.of(hosts.config, copy.id).disk) == 55 * GIB
    hosts.engine.destroy(copy.id)
    with pytest.raises(EngineError, match="makes hosts of its own kind"):
        hosts.engine.create(hosts.machine(3, image="snapshot/shot"))
    hosts.engine.destroy(hosts.machine(3).id)
    for snapshot in ("shot", "again"):
        hosts.engine.destroy_snapshot(snapshot)


def test_a_snapshot_that_was_cut_short_is_made_again(hosts: EngineHosts, machine: Machine) -> None:
    code = (
        "import sys; from lab import lifecycle, qemu; from lab.hosts import LabEngine\n"
        "qemu._job = lambda qmp: print('copying', flush=True) or {'status': 'running'}\n"
        f"LabEngine(lifecycle.find({hosts.config.name!r})).create_snapshot({machine.id!r}, 'cut-short')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "copying\n"
        os.kill(maker.pid, signal.SIGKILL)
    assert hosts.engine.create_snapshot(machine.id, "cut-short") > 0
    hosts.engine.destroy_snapshot("cut-short")


def test_without_a_network_it_has_no_card_and_its_interfaces_come_back(
    hosts: EngineHosts, machine: Machine, vm: Vm
) -> None:
    with pytest.raises(EngineError, match="only while it is off"):
        hosts.engine.set_nics(still(hosts, 1))
    hosts.engine.stop(machine.id)
    vm.offline()
    hosts.engine.start(machine)
    assert network.links(hosts.config, machine.id) == {}
    assert "virtio-net" not in monitor(hosts, machine, "info qtree")
    with vm.console() as console, pytest.raises(NotSaid):
        console.wait_for("anything", timeout_s=0.1)
    hosts.engine.stop(machine.id, force=True)
    with pytest.raises(EngineError, match="does not run"):
        vm.console()
    vm.offline(False)
    hosts.engine.start(machine)
    assert len(network.links(hosts.config, machine.id)) == 2


def test_what_it_is_not_offered_is_refused(hosts: EngineHosts, machine: Machine) -> None:
    with pytest.raises(EngineError, match="do it inside"):
        hosts.engine.fill_disk(machine.id, full=True)
    with pytest.raises(EngineError, match="is a vm, and cannot become a container"):
        hosts.engine.reinstall(hosts.machine(1))
    assert hosts.engine.status(machine.id).running


def test_what_was_found_of_kvm_is_remembered(hosts: EngineHosts, machine: Machine) -> None:
    kernel = vm_image.folder_of(vm_image.image_id()) / "vmlinuz"
    runs = kvm.usable(kernel)
    assert ("kvm support: enabled" in monitor(hosts, machine, "info kvm")) is runs
    if kvm.DEVICE.exists():
        assert json.loads(kvm.FOUND.read_text())["runs"] is runs


def test_a_slow_one_runs_and_is_ended_before_it_boots(hosts: EngineHosts) -> None:
    slow = still(hosts, 4, boot=600)
    hosts.engine.create(slow)
    hosts.engine.start(slow)
    assert hosts.engine.status(slow.id).running
    hosts.engine.stop(slow.id)
    assert not hosts.engine.status(slow.id).running
    hosts.engine.destroy(slow.id)


def test_nothing_of_it_is_left_once_it_is_destroyed(hosts: EngineHosts, machine: Machine) -> None:
    folder = Folder.of(hosts.config, machine.id)
    pid = folder.supervisor
    hosts.engine.destroy(machine.id)
    until("no process", lambda: not Path(f"/proc/{pid}").exists())
    assert network.links(hosts.config, machine.id) == {}
    assert not folder.path.exists()


def test_the_sweep_ends_it_whatever_it_does(hosts: EngineHosts) -> None:
    last = still(hosts, 5)
    hosts.engine.create(last)
    hosts.engine.start(last)
    pid = Folder.of(hosts.config, last.id).supervisor
    hosts.engine.sweep()
    until("no process", lambda: not Path(f"/proc/{pid}").exists())
    assert network.links(hosts.config, last.id) == {}
