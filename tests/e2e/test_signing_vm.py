"""The signing host with a kernel and USB ports of its own: what a container of the lab has not."""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from inventories.inventory import load_site
from lab.go import debian_package, run
from lab.hosts import LabEngine
from lab.hsm import service
from lab.vm import Vm
from tests import signing_hsms as hsms
from tests.hsm_site import SERIALS
from tests.labs import disconnect, own_lab, provider
from tests.signing_site import HOST, KEYBOARD, SigningSite, made, signing_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(3600)]
PLAN = "voc-c-2c-4gb-50s-amd"
"""A virtual machine in the lab."""
PATIENCE_S = 600
IMPOSTOR = 999000009
STICK, STICKS_SERIAL = "46f4:0001", "STICK1"
PORTS = {"primary": 18345, "backup": 18346, "impostor": 18347}
"""On this machine, by which faults are brought about; the host has the devices on its USB alone."""


class Machine:
    """The host, which can lose its power, and devices, which can be plugged into it."""

    def __init__(self, site: SigningSite, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.id = load_site(site.inventory).lock.hosts[HOST].instance_id
        self.vm = Vm(site.lab, self.id)

    def plug(self, *names: str) -> None:
        for name in names:
            self.vm.plug_redirected(name, self.folder / name / service.SOCKET)

    def boot_id(self) -> str:
        return self.site.run("cat /proc/sys/kernel/random/boot_id").stdout

    def up(self, before: str) -> None:
        """Waits until it has booted since `before`, to its end."""
        until("a boot", lambda: self.boot_id() not in ("", before), timeout_s=PATIENCE_S, every_s=3)
        ended = self.site.run("systemctl is-system-running --wait", timeout_s=PATIENCE_S)
        assert ended.stdout.strip() == "running", self.site.run("systemctl --failed; systemctl list-jobs").stdout

    def lose_power(self) -> None:
        """And gets it back; what is plugged into it loses it too."""
        before = self.boot_id()
        LabEngine(self.site.lab).stop(self.id, force=True)
        disconnect(self.site.ssh_config)
        for name in SERIALS:
            service.fault(url(name), "unplug")
            service.undo_faults(url(name))
        provider(self.site.lab, "POST", f"instances/{self.id}/start")
        until("a VM", self.vm.runs)
        self.plug(*SERIALS)
        self.up(before)

    def begin(self, *lines: str) -> "subprocess.Popen[str]":
        """A session that goes on."""
        words = self.site.words("signing-session sh -s", root=False)
        begun = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        assert begun.stdin
        begun.stdin.write(hsms.script(*lines))
        begun.stdin.close()
        return begun

    def devices(self) -> dict[str, bool]:
        """What is plugged in, as ID or ID SERIAL, and whether it is allowed."""
        looked = "for device in /sys/bus/usb/devices/*/authorized; do cd ${device%/*}; [ ! -e idVendor ] || "
        looked += "echo $(cat authorized idVendor idProduct serial 2>/dev/null); done"
        found = {}
        for line in self.site.root(looked).splitlines():
            allowed, vendor, product, *serial = line.split()
            found[" ".join([f"{vendor}:{product}", *(serial if vendor == "1050" else [])])] = allowed == "1"
        return found

    def allowed(self, name: str) -> bool:
        """Whether USBGuard lets what was plugged in be used, once it has judged."""
        until(f"{name} is there", lambda: name in self.devices(), timeout_s=PATIENCE_S)
        number, _, serial = name.partition(" ")
        judged = f"usbguard list-devices | grep -F 'id {number} serial \"{serial}'"
        until(f"{name} is judged", lambda: self.site.run(judged).stdout, timeout_s=PATIENCE_S)
        return self.devices()[name]


def url(name: str) -> str:
    return f"http://127.0.0.1:{PORTS[name]}"


def unplugged(name: str) -> bool:
    return "NO_DEVICE" in requests.get(f"{url(name)}/connector/status", timeout=60).text


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Deployed, and booted with what was deployed; nothing is plugged in."""
    with own_lab("signing-vm", prepared=True) as lab:
        site = made(signing_site(lab, tmp_path_factory.mktemp("signing"), keyboards=(), plan=PLAN))
        found = Machine(site, tmp_path_factory.mktemp("devices"))
        before = found.boot_id()
        disconnect(site.ssh_config)
        provider(lab, "POST", f"instances/{found.id}/reboot")
        found.up(before)
        yield found
        disconnect(site.ssh_config)


@pytest.fixture(scope="module")
def site(machine: Machine) -> SigningSite:
    return machine.site


@pytest.fixture(scope="module")
def plugged(machine: Machine) -> Iterator[None]:
    """Both HSMs, as they leave the factory."""
    with (
        service.running(machine.folder / "primary", PORTS["primary"], serial=SERIALS["primary"]),
        service.running(machine.folder / "backup", PORTS["backup"], serial=SERIALS["backup"]),
    ):
        machine.plug(*SERIALS)
        yield


def test_a_deploy_after_the_reboot_changes_nothing(site: SigningSite) -> None:
    again = site.deploy()
    assert again.ok, again.output
    assert again.changed == (), again.output


def test_a_keyboard_is_refused_until_it_is_declared_and_a_stick_is_refused(
    machine: Machine, site: SigningSite, tmp_path: Path
) -> None:
    """With modules closed, too: what a keyboard needs was loaded before."""
    machine.vm.plug_keyboard("keyboard")
    assert not machine.allowed(KEYBOARD)
    inputs = "cat /sys/class/input/*/name 2>/dev/null; true"
    assert "QEMU" not in site.root(inputs)
    stick = tmp_path / "stick"
    stick.write_bytes(bytes(1 << 20))
    machine.vm.plug_stick("stick", stick, STICKS_SERIAL)
    assert not machine.allowed(STICK)
    assert site.root("ls /sys/block | grep ^sd; true") == ""
    for name in ("stick", "keyboard"):
        machine.vm.unplug(name)
    toml = site.inventory.with_suffix(".toml")
    toml.write_text(
        toml.read_text().replace("keyboards = []", f'keyboards = ["{KEYBOARD}"]\nmedia = ["{STICK} {STICKS_SERIAL}"]')
    )
    done = site.deploy()
    assert done.ok, done.output
    machine.vm.plug_keyboard("keyboard")
    assert machine.allowed(KEYBOARD)
    until("an input device", lambda: "QEMU" in site.root(inputs), timeout_s=PATIENCE_S)
    machine.vm.unplug("keyboard")


def device_info(site: SigningSite) -> str:
    """What a session learns of the first device by its connector, which takes a moment to start."""
    ask = f"yubihsm-shell -C {hsms.URLS['primary']} -a get-device-info 2>&1"
    return site.run(f'signing-session sh -c "for try in 1 2 3 4 5; do {ask} && break; sleep 2; done"').stdout


def test_one_that_claims_to_be_the_hsm_is_not_used(machine: Machine, site: SigningSite) -> None:
    with service.running(machine.folder / "impostor", PORTS["impostor"], serial=IMPOSTOR):
        machine.plug("impostor")
        assert not machine.allowed(f"1050:0030 {IMPOSTOR:010}")
        assert "Serial number" not in device_info(site)
        machine.vm.unplug("impostor")


def test_power_is_lost_while_the_hsms_are_set_up_and_the_same_command_ends_it(
    machine: Machine, site: SigningSite, plugged: None
) -> None:
    """By the declared devices alone, each by its own connector, over USB."""
    for serial in SERIALS.values():
        assert machine.allowed(f"1050:0030 {serial:010}")
    assert f"Serial number:\t\t{SERIALS['primary']}" in device_info(site)

    def cut_short() -> None:
        service.fault(url("primary"), "unplug", command="GENERATE_ASYMMETRIC_KEY")
        with machine.begin(hsms.from_factory("apply", "--yes")):
            until("a key that nobody was told of", lambda: unplugged("primary"), timeout_s=PATIENCE_S)
            machine.lose_power()

    hsms.make(site.run, cut_short)
    hsms.ended(0, site.run, hsms.hsm("plan"), hsms.hsm("drain"), hsms.hsm("audit"))


def test_a_declared_stick_is_written_and_another_of_its_kind_is_refused(
    machine: Machine, site: SigningSite, plugged: None, tmp_path: Path
) -> None:
    """It was declared before the last boot: what it takes is loaded then, and never later."""
    stick, another = tmp_path / "stick", tmp_path / "another"
    for file in (stick, another):
        file.write_bytes(bytes(32 << 20))
    run(debian_package("mkfs.vfat", "dosfstools"), stick, cwd=tmp_path)
    machine.vm.plug_stick("another", another, "STICK2")
    assert not machine.allowed(STICK)
    machine.vm.unplug("another")
    machine.vm.plug_stick("stick", stick, STICKS_SERIAL)
    until("it is allowed", lambda: machine.allowed(STICK), timeout_s=PATIENCE_S)
    disk = f"/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_{STICKS_SERIAL}-0:0"
    until("its disk", lambda: site.run(f"test -b {disk}").returncode == 0, timeout_s=PATIENCE_S)
    site.root(f"mount -o nosuid,nodev,noexec {disk} /mnt; echo 'what was signed' >/mnt/signed; umount /mnt")
    machine.vm.unplug("stick")
    assert b"what was signed\n" in stick.read_bytes()


def test_the_roles_own_suites_pass_on_its_own_kernel(site: SigningSite, plugged: None) -> None:
    """With the HSMs plugged in and set up."""
    done = site.suite("signing", "base")
    assert done.returncode == 0, done.stdout
    assert "has its host's kernel" not in done.stdout


def test_an_apk_is_signed_through_pkcs11_and_accounted_for(site: SigningSite, plugged: None) -> None:
    hsms.sign_apk(site.run)
    hsms.ended(0, site.run, hsms.hsm("drain"), "mainstay hsm verify --expect sign-pkcs1@0x0101=2")


@pytest.mark.parametrize("command", ["GET_LOG_ENTRIES", "SET_LOG_INDEX"])
def test_an_hsm_that_is_pulled_out_in_the_midst_of_a_drain_is_drained_when_it_is_back(
    machine: Machine, site: SigningSite, plugged: None, command: str
) -> None:
    service.fault(url("primary"), "unplug", command=command)
    hsms.ended(hsms.UNREACHABLE, site.run, hsms.hsm("drain"))
    service.undo_faults(url("primary"))
    assert machine.allowed(f"1050:0030 {SERIALS['primary']:010}")
    hsms.ended(0, site.run, hsms.hsm("drain"), "mainstay hsm verify")


def test_power_is_lost_when_an_hsm_has_just_freed_its_log_and_no_entry_with_it(
    machine: Machine, site: SigningSite, plugged: None
) -> None:
    drained = f"git -C {hsms.LOG} rev-list --count HEAD"
    before = int(hsms.ended(0, site.run, drained))
    service.fault(url("primary"), "unplug", command="SET_LOG_INDEX")
    with machine.begin(hsms.hsm("drain", "--device primary")):
        until("slots that are free", partial(unplugged, "primary"), timeout_s=PATIENCE_S)
        machine.lose_power()
    assert int(hsms.ended(0, site.run, drained)) == before + 1
    hsms.ended(0, site.run, hsms.hsm("drain"), "mainstay hsm verify")
