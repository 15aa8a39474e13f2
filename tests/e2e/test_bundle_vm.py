"""A bundle on a machine that has no network at all: an image on a USB stick, applied at its console."""

import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from lab import vm_image
from lab.console import Console
from lab.hosts import LabEngine
from lab.vm import Vm
from tests.bundle_site import HOST, PASSWORD, ROLE, Clone, clone
from tests.lab_hosts import LabCloud
from tests.labs import own_lab
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(3600)]
PLAN = "voc-c-2c-4gb-50s-amd"
COMMITTED = 1_790_000_000
BOOT_S, APPLY_S = 600, 2400
STICKS = {"BUNDLE": "/media/bundle", "KEY": "/media/key"}
"""Serial numbers, and where each is mounted."""


def done(console: Console, command: str) -> bool:
    return console.run(command)[0] == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return clone(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def console(made: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Of a VM without an interface, with both sticks plugged in and mounted."""
    folder = tmp_path_factory.mktemp("sticks")
    with own_lab("bundle-vm") as lab:
        vm_image.build()
        made.must("key")
        made.must("lock", "--for", ROLE)
        made.commit("A site without network", COMMITTED)
        made.make(folder / "bundle.iso")
        cloud, engine = LabCloud(lab, folder), LabEngine(lab)
        host = cloud.ready(cloud.begin(HOST, plan=PLAN), timeout_s=BOOT_S)
        engine.stop(host.id)
        until("it is off", lambda: not engine.status(host.id).running, timeout_s=BOOT_S)
        vm = Vm(lab, host.id)
        vm.offline()
        cloud("POST", f"/instances/{host.id}/start")
        until("it runs", lambda: engine.status(host.id).running, timeout_s=BOOT_S)
        key = folder / "key.img"
        words = ["mke2fs", "-q", "-t", "ext4", "-d", str(made.identity.parent), str(key), "8M"]
        subprocess.run(words, check=True)
        with vm.console() as found:
            found.enter(BOOT_S)
            for serial, file in zip(STICKS, (folder / "bundle.iso", key), strict=True):
                vm.plug_stick(serial.lower(), file, serial)
                mount = f"mkdir -p {STICKS[serial]} && mount -o ro /dev/disk/by-id/usb-*{serial}* {STICKS[serial]}"
                until(f"the stick {serial}", partial(done, found, mount))
            yield found
        cloud.delete_all()


def test_it_has_no_network_and_is_deployed(console: Console) -> None:
    assert console.run("ls /sys/class/net") == (0, "lo\n")
    code, said = console.run(f"sh {STICKS['BUNDLE']}/apply --identity {STICKS['KEY']}/id_ed25519 2>&1", APPLY_S)
    assert (code, "== done" in said) == (0, True), said[-3000:]
    assert "permitrootlogin no" in console.run("sshd -T")[1]
    assert PASSWORD in console.run("cat /etc/nullmailer/remotes")[1]
    assert console.run("systemctl is-active nftables chrony")[1].split() == ["active"] * 2


def test_applied_again_it_changes_nothing(console: Console) -> None:
    code, said = console.run(f"sh {STICKS['BUNDLE']}/apply --identity {STICKS['KEY']}/id_ed25519 2>&1", APPLY_S)
    assert code == 0, said[-3000:]
    total = next(line.split() for line in said.splitlines() if "Grand total" in line)
    assert total[2] == total[-1], said[-3000:]
