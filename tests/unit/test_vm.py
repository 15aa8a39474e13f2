"""Virtual machines of the lab, as far as none has to run: command, firmware, the probe for KVM, what a console says."""

import base64
import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from lab import console, kvm
from lab import qemu_command as command
from lab.api import catalogue
from lab.engine import EngineError
from lab.folder import Attached, Folder, machine_from, machine_to
from lab.hosts import LabEngine
from lab.qemu_command import Parts
from lab.vm import Vm
from tests.unit.test_engine import CONFIG, MACHINE, PRIVATE, PUBLIC

VM = replace(MACHINE, kind="vm", memory_mb=512)
PARTS = Parts(
    kernel=Path("/image/vmlinuz"),
    initrd=Path("/image/initrd.img"),
    root=Path("/host/disk.img"),
    disks={Path("/disks/1.img"): Attached("c", "ams-0123456789abcd")},
    taps={PUBLIC.mac: "ms1-aaaaaaaa-0", PRIVATE.mac: "ms1-aaaaaaaa-1"},
    credentials={"provider.network": "link set eth0 up\n"},
    kvm=False,
)


def after(words: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(words) if name == option]


def test_a_vm_is_the_providers_has_no_kvm_unless_it_runs_and_only_its_own_wires() -> None:
    words = command.command(VM, PARTS)
    assert after(words, "-accel") == [f"tcg,thread=multi,tb-size={command.TRANSLATION_MB}"]
    assert after(words, "-cpu") == [command.PROCESSOR]
    assert after(words, "-m") == ["512"]
    (system,) = [one for one in after(words, "-smbios") if one.startswith("type=1,")]
    assert f"manufacturer=Vultr,product=VOC,serial={VM.id},uuid=" in system
    assert not system.endswith(VM.id), "cloud-init would take a snapshot of it for itself"
    assert [word.split("ifname=")[1].split(",")[0] for word in after(words, "-netdev")] == list(PARTS.taps.values())
    cards = [word for word in after(words, "-device") if word.startswith("virtio-net-pci")]
    assert [f"mac={nic.mac}" in card for nic, card in zip((PUBLIC, PRIVATE), cards, strict=True)] == [True, True]
    assert "qemu-xhci,id=xhci,p2=15,p3=15" in after(words, "-device")
    assert "-S" not in words
    with_kvm = command.command(VM, replace(PARTS, kvm=True))
    assert (after(with_kvm, "-accel"), after(with_kvm, "-cpu")) == (["kvm"], ["host"])
    assert "-S" in command.command(replace(VM, boot="never"), PARTS)


def test_a_vm_without_a_network_has_no_card_at_all() -> None:
    words = command.command(replace(VM, nics=()), replace(PARTS, taps={}))
    assert not [word for word in words if "net-pci" in word or "netdev" in word]
    assert "cloud-init=disabled" in command.kernel_arguments(replace(VM, nics=()))
    assert "cloud-init" not in command.kernel_arguments(VM)


def test_its_kernel_is_locked_down_and_its_machine_id_is_the_instances() -> None:
    told = command.kernel_arguments(VM).split()
    assert {"lockdown=integrity", "console=ttyS0", "root=/dev/vda"} <= {*told}
    assert f"systemd.machine_id={VM.id.replace('-', '')}" in told


def test_a_flush_reaches_this_machines_page_cache_and_waits_for_nothing_more() -> None:
    file, image = command.root_nodes(Path("/host/disk.img"))
    assert file["cache"] == {"no-flush": True}
    assert "cache" not in image


def test_block_storage_has_the_slot_of_its_letter_at_boot_and_when_plugged_in() -> None:
    disk = Attached("c", "ams-0123456789abcd")
    device = command.disk_device(disk)
    assert (device["bus"], device["serial"]) == ("slot2", disk.serial)
    assert json.dumps(device) in after(command.command(VM, PARTS), "-device")
    last = Attached("bcdefghijklmnop"[command.MOST_DISKS - 1], "x")
    slots = [
        word.split("id=")[1].split(",")[0] for word in after(command.command(VM, PARTS), "-device") if "id=slot" in word
    ]
    assert command.disk_device(last)["bus"] == slots[-1]


def test_firmware_tells_the_same_network_files_as_containers_find_and_who_gets_in() -> None:
    files = {"10-560001000010.network": "[Match]\n"}
    told = command.credentials(CONFIG, VM, files, "http://10.65.0.1:3143")
    assert told["network.network.10-560001000010"] == "[Match]\n"
    assert "addr replace 10.65.0.16/20 dev eth0" in told["provider.network"]
    assert "addr replace 10.1.0.3/20 dev eth1" in told["provider.network"]
    assert 'Acquire::http::Proxy "http://10.65.0.1:3143";' in told["tmpfiles.extra"]
    assert "agetty.autologin" not in told
    alone = command.credentials(CONFIG, replace(VM, nics=()), {}, "http://10.65.0.1:3143")
    assert alone["agetty.autologin"] == "root"
    assert "provider.network" not in alone


def test_what_firmware_tells_bears_any_text() -> None:
    text = 'a,b=c "d"\n'
    words = command.command(VM, replace(PARTS, credentials={"x.y": text}))
    [told] = [word for word in after(words, "-smbios") if "credential" in word]
    value = told.removeprefix("type=11,value=io.systemd.credential.binary:x.y=")
    assert base64.b64decode(value).decode() == text
    assert "," not in value


def test_plans_with_cpus_of_their_own_are_vms_and_no_others() -> None:
    kinds = {plan["id"].split("-")[0]: catalogue.kind(plan) for plan in catalogue.PLANS}
    assert kinds == {"vc2": "container", "vhf": "container", "vhp": "container", "voc": "vm"}
    assert next((plan["vcpu_count"], plan["ram"]) for plan in catalogue.PLANS if plan["type"] == "voc") == (1, 2048)


def test_a_host_stays_of_its_kind(tmp_path: Path) -> None:
    lab = replace(CONFIG, root=tmp_path)
    folder = Folder.of(lab, VM.id)
    folder.save_machine(VM)
    assert machine_from(machine_to(VM)) == VM
    with pytest.raises(EngineError, match="is a vm, and cannot become a container"):
        LabEngine(lab).create(replace(VM, kind="container"))
    assert folder.machine == VM
    Vm(lab, VM.id)
    folder.save_machine(MACHINE)
    with pytest.raises(EngineError, match="not a VM of lab unit"):
        Vm(lab, VM.id)


@pytest.mark.parametrize(
    ("said", "runs"),
    [
        ("", False),
        ("qemu-system-x86_64: failed to initialize kvm: Permission denied\n", False),
        ("KVM internal error. Suberror: 1\nRAX=0000\n", False),
        ("[    0.000000] Linux ver", False),
        ("[    0.000000] Linux version 6.12", False),
        ("\x1bc\n[    0.000000] Linux version 6.12.118\r\n[    0.000000] Command", True),
    ],
)
def test_kvm_runs_where_a_guest_has_said_a_whole_line(said: str, runs: bool) -> None:
    assert kvm.runs(said) is runs


def test_what_was_found_of_kvm_holds_for_the_kernel_and_qemu_it_was_found_with(tmp_path: Path) -> None:
    file = tmp_path / "kvm.json"
    assert kvm.cached(file, "one") is None
    for found in (True, False):
        file.write_text(json.dumps({"on": "one", "runs": found, "said": ""}))
        assert kvm.cached(file, "one") is found
        assert kvm.cached(file, "two") is None
    file.write_text("{")
    assert kvm.cached(file, "one") is None


def test_a_guest_that_says_nothing_and_never_ends_is_given_up() -> None:
    silent = (sys.executable, "-c", "import time; time.sleep(600)")
    assert kvm.probe(silent, timeout_s=0.2) == ""
    talking = (sys.executable, "-c", "import time; print('Linux version 1', flush=True); time.sleep(600)")
    assert kvm.runs(kvm.probe(talking, timeout_s=60))


def test_a_console_is_read_without_what_only_terminals_understand() -> None:
    raw = b"\x1b[?2004hroot@host:~# \x1b[0mecho\r\n\x1b]0;title\x07done\r\n"
    assert console.plain(raw) == "root@host:~# echo\ndone\n"
