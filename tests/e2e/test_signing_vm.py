"""The signing host with a kernel and USB ports of its own: what a container of the lab has not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.inventory import load_site
from lab.hsm import service
from lab.vm import Vm
from tests.labs import disconnect, own_lab, provider
from tests.signing_site import HOST, KEYBOARD, SERIALS, SigningSite, made, signing_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(3600)]
PLAN = "voc-c-2c-4gb-50s-amd"
"""A virtual machine in the lab."""
PATIENCE_S = 600
IMPOSTOR = 999000009


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningSite]:
    """Deployed, and booted with what was deployed."""
    with own_lab("signing-vm") as lab:
        found = made(signing_site(lab, tmp_path_factory.mktemp("signing"), plan=PLAN))
        before = found.root("cat /proc/sys/kernel/random/boot_id")
        disconnect(found.ssh_config)
        provider(lab, "POST", f"instances/{instance(found)}/reboot")
        again = "cat /proc/sys/kernel/random/boot_id && systemctl is-system-running --wait"
        until("a reboot", lambda: found.run(again).stdout.strip() not in ("", before), timeout_s=PATIENCE_S, every_s=5)
        yield found
        disconnect(found.ssh_config)


@pytest.fixture(scope="module")
def vm(site: SigningSite) -> Vm:
    return Vm(site.lab, instance(site))


def instance(site: SigningSite) -> str:
    return load_site(site.inventory).lock.hosts[HOST].instance_id


def devices(site: SigningSite) -> dict[str, bool]:
    """What is plugged in, as ID or ID SERIAL, and whether it is allowed."""
    looked = "for device in /sys/bus/usb/devices/*/authorized; do cd ${device%/*}; [ ! -e idVendor ] || "
    looked += "echo $(cat authorized idVendor idProduct serial 2>/dev/null); done"
    found = {}
    for line in site.root(looked).splitlines():
        allowed, vendor, product, *serial = line.split()
        found[" ".join([f"{vendor}:{product}", *(serial if vendor == "1050" else [])])] = allowed == "1"
    return found


def plugged(site: SigningSite, name: str) -> bool:
    """Whether USBGuard lets it be used, once it has judged."""
    until(f"{name} is there", lambda: name in devices(site), timeout_s=PATIENCE_S)
    vendor = name.split()[0]
    judged = f"usbguard list-devices | grep -F 'id {vendor}'"
    until(f"{name} is judged", lambda: site.run(judged).stdout, timeout_s=PATIENCE_S)
    return devices(site)[name]


def device_info(site: SigningSite) -> str:
    """What a session learns of the device by the connector, which takes a moment to start."""
    ask = "yubihsm-shell -C http://127.0.0.1:12345 -a get-device-info 2>&1"
    return site.run(f'signing-session sh -c "for try in 1 2 3 4 5; do {ask} && break; sleep 2; done"').stdout


def test_a_deploy_after_the_reboot_changes_nothing(site: SigningSite) -> None:
    again = site.deploy()
    assert again.ok, again.output
    assert again.changed == ()


def test_the_roles_own_suites_pass_on_its_own_kernel(site: SigningSite) -> None:
    done = site.suite("signing", "base")
    assert done.returncode == 0, done.stdout
    assert "has its host's kernel" not in done.stdout


def test_a_declared_keyboard_may_be_plugged_in_and_a_stick_may_not(site: SigningSite, vm: Vm, tmp_path: Path) -> None:
    vm.plug_keyboard("keyboard")
    assert plugged(site, KEYBOARD)
    stick = tmp_path / "stick"
    stick.write_bytes(bytes(1 << 20))
    vm.plug_stick("stick", stick, "STICK1")
    assert not plugged(site, "46f4:0001")
    assert site.root("ls /sys/block | grep ^sd; true") == ""
    for name in ("stick", "keyboard"):
        vm.unplug(name)


def test_the_declared_hsm_is_used_and_one_that_claims_to_be_it_is_not(
    site: SigningSite, vm: Vm, tmp_path: Path
) -> None:
    with (
        service.running(tmp_path / "impostor", 18346, serial=IMPOSTOR),
        service.running(tmp_path / "device", 18345, serial=int(SERIALS[0])),
    ):
        vm.plug_redirected("impostor", tmp_path / "impostor" / service.SOCKET)
        assert not plugged(site, f"1050:0030 {IMPOSTOR:010}")
        assert "Serial number" not in device_info(site)
        vm.plug_redirected("device", tmp_path / "device" / service.SOCKET)
        assert plugged(site, f"1050:0030 {SERIALS[0]}")
        assert f"Serial number:\t\t{int(SERIALS[0])}" in device_info(site)
        for name in ("impostor", "device"):
            vm.unplug(name)
