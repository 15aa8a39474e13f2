"""What lab.engine.Engine promises of a host's life, its disks and its snapshots, with real hosts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import mail
from lab.engine import GIB, EngineError, Machine
from lab.hosts import LabEngine
from lab.services import CACHE
from tests.e2e.engine_hosts import EngineHosts, address, engine_lab, greets
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[EngineHosts]:
    with engine_lab("eng") as found:
        yield found


@pytest.fixture(scope="module")
def first(hosts: EngineHosts) -> Machine:
    return hosts.boot(1)


@pytest.fixture(scope="module")
def second(hosts: EngineHosts) -> Machine:
    return hosts.boot(2)


def test_a_host_is_a_whole_debian_13_that_has_done_its_first_boot(hosts: EngineHosts, first: Machine) -> None:
    hosts.ssh(first, "cloud-init status --wait")
    assert "DataSourceVultr" in hosts.ssh(first, "cloud-init status --long")
    assert hosts.ssh(first, "systemctl is-system-running --wait") == "running"
    assert hosts.ssh(first, ". /etc/os-release; echo $VERSION_CODENAME") == "trixie"
    assert hosts.ssh(first, "hostname") == "host-1"
    assert hosts.ssh(first, "cat /etc/machine-id") == first.id.replace("-", "")
    assert hosts.ssh(first, "ps -o comm= 1") == "systemd"


def test_a_host_has_its_own_network_settings_and_firewall(hosts: EngineHosts, first: Machine) -> None:
    hosts.ssh(first, "sudo sysctl -w net.ipv4.conf.all.log_martians=1")
    assert hosts.ssh(first, "sudo sysctl -n net.ipv4.conf.all.log_martians") == "1"
    hosts.ssh(first, "sudo nft add table inet mine")
    assert "mine" in hosts.ssh(first, "sudo nft list tables")
    hosts.ssh(first, "sudo nft delete table inet mine")
    assert address(first) in hosts.ssh(first, "networkctl status eth0")


def test_hosts_have_host_keys_of_their_own(hosts: EngineHosts, first: Machine, second: Machine) -> None:
    keys = {hosts.ssh(machine, "cat /etc/ssh/ssh_host_ed25519_key.pub") for machine in (first, second)}
    assert len(keys) == 2


def test_a_package_that_one_host_fetched_is_not_fetched_again(
    hosts: EngineHosts, first: Machine, second: Machine
) -> None:
    log = CACHE / "log" / "apt-cacher.log"

    def fetched_and_served(machine: Machine) -> tuple[int, int]:
        before = len(log.read_text(errors="replace").splitlines())
        hosts.ssh(machine, "cd /tmp && apt-get -q download hello")
        until("a line in the log", lambda: len(log.read_text(errors="replace").splitlines()) > before)
        lines = [line for line in log.read_text(errors="replace").splitlines()[before:] if "hello" in line]
        return sum("|I|" in line for line in lines), sum("|O|" in line for line in lines)

    fetched_and_served(first)
    assert fetched_and_served(second) == (0, 1)


def test_mail_that_a_host_hands_to_its_gateway_is_kept_for_tests(hosts: EngineHosts, first: Machine) -> None:
    send = f"curl -s smtp://{hosts.config.gateway4} --mail-from root@a.test --mail-rcpt admin@b.test --upload-file -"
    with mail.received(hosts.config):
        hosts.ssh(first, f"printf 'Subject: hello\\n\\nbody\\n' | {send}")
    (kept,) = (hosts.config.root / "mail").glob("*.eml")
    assert "X-Envelope-To: admin@b.test" in kept.read_text()
    assert "Subject: hello" in kept.read_text()


def test_a_reboot_from_inside_comes_back_and_a_poweroff_stays_off(hosts: EngineHosts, second: Machine) -> None:
    hosts.ssh(second, "sudo touch /kept")
    hosts.reboot(second)
    hosts.ssh(second, "test -e /kept")
    assert hosts.ssh(second, f"ping -c1 -W2 {hosts.config.gateway6} >/dev/null; echo $?") == "0"
    hosts.ssh(second, "sudo poweroff", check=False)
    until("it is off", lambda: not hosts.engine.status(second.id).running)
    hosts.engine.start(second)
    hosts.wait_for_ssh(second)


def test_stop_lets_services_end_and_force_does_not(hosts: EngineHosts, second: Machine) -> None:
    unit = "sudo systemd-run --unit=last --property=ExecStop='/usr/bin/touch /ended' sleep infinity"
    hosts.ssh(second, f"sudo rm -f /ended; {unit}")
    hosts.engine.stop(second.id, force=True)
    hosts.engine.start(second)
    hosts.wait_for_ssh(second)
    assert hosts.ssh(second, "ls /ended", check=False) == ""
    hosts.ssh(second, unit)
    hosts.engine.stop(second.id)
    assert not hosts.engine.status(second.id).running
    hosts.engine.start(second)
    hosts.wait_for_ssh(second)
    hosts.ssh(second, "test -e /ended")


def test_hosts_outlive_who_started_them_and_are_adopted(hosts: EngineHosts) -> None:
    machine = hosts.machine(3)
    code = (
        "import time\nfrom lab import lifecycle\nfrom lab.hosts import LabEngine\n"
        "from lab.folder import machine_from\n"
        f"engine = LabEngine(lifecycle.find({hosts.config.name!r}))\n"
        "from tests.e2e.engine_hosts import EngineHosts\n"
        "machine = EngineHosts(engine.config).machine(3)\n"
        "engine.create(machine); engine.start(machine)\nprint('started', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        os.kill(starter.pid, signal.SIGKILL)
    hosts.wait_for_ssh(machine)
    adopted = LabEngine(hosts.config)
    assert adopted.status(machine.id).running
    assert adopted.status(machine.id).memory_bytes > 0
    adopted.start(machine)
    adopted.stop(machine.id)
    assert not hosts.engine.status(machine.id).running
    hosts.engine.destroy(machine.id)


def test_a_host_that_never_boots_runs_and_answers_no_ssh(hosts: EngineHosts) -> None:
    machine = hosts.machine(4, boot="never")
    hosts.engine.create(machine)
    hosts.engine.start(machine)
    assert hosts.engine.status(machine.id).running
    assert not greets(address(machine))
    hosts.engine.stop(machine.id)
    assert not hosts.engine.status(machine.id).running
    hosts.engine.destroy(machine.id)


def test_a_volume_is_there_live_and_after_a_reboot_by_id_and_label(
    hosts: EngineHosts, first: Machine, second: Machine
) -> None:
    engine = hosts.engine
    engine.create_disk("data", 10)
    engine.attach_disk(first.id, "data", "ams-0123456789")
    by_id = "/dev/disk/by-id/virtio-ams-0123456789"
    assert hosts.ssh(first, f"readlink -f {by_id}") == "/dev/vdb"
    hosts.ssh(first, f"sudo mkfs.xfs -q -L content {by_id} && sudo mkdir -p /data")
    until("the label", lambda: hosts.ssh(first, "readlink -f /dev/disk/by-label/content") == "/dev/vdb")
    hosts.ssh(first, "echo 'LABEL=content /data xfs defaults 0 2' | sudo tee -a /etc/fstab && sudo mount /data")
    hosts.ssh(first, "echo kept | sudo tee /data/file && sync")
    hosts.reboot(first)
    assert hosts.ssh(first, "cat /data/file") == "kept"
    engine.stop(first.id, force=True)
    engine.start(first)
    hosts.wait_for_ssh(first)
    assert hosts.ssh(first, "cat /data/file") == "kept"

    engine.resize_disk("data", 20)
    hosts.ssh(first, "sudo xfs_growfs /data")
    assert int(hosts.ssh(first, "df --output=size -B1 /data | tail -1")) > 18 * GIB
    with pytest.raises(EngineError, match="cannot shrink"):
        engine.resize_disk("data", 10)

    hosts.ssh(first, "sudo systemd-run --unit=holder --service-type=exec --working-directory=/data sleep infinity")
    with pytest.raises(EngineError, match="busy"):
        engine.detach_disk(first.id, "data")
    hosts.ssh(first, "sudo systemctl stop holder")
    engine.detach_disk(first.id, "data")
    assert hosts.ssh(first, f"ls {by_id} /dev/vdb", check=False) == ""
    engine.attach_disk(second.id, "data", "ams-0123456789")
    hosts.ssh(second, "sudo mount /dev/vdb /mnt")
    assert hosts.ssh(second, "cat /mnt/file") == "kept"
    hosts.ssh(second, "sudo umount /mnt")
    engine.detach_disk(second.id, "data")
    hosts.ssh(first, "sudo sed -i /content/d /etc/fstab")
    engine.destroy_disk("data")


def test_reinstalling_gives_a_fresh_root_disk_and_leaves_volumes(hosts: EngineHosts) -> None:
    machine = hosts.boot(5)
    hosts.engine.create_disk("stays", 10)
    hosts.engine.attach_disk(machine.id, "stays", "stays-1")
    hosts.ssh(machine, "sudo touch /gone && sudo mkfs.xfs -q -L stays /dev/vdb")
    hosts.engine.reinstall(machine)
    hosts.engine.start(machine)
    hosts.wait_for_ssh(machine)
    assert hosts.ssh(machine, "ls /gone", check=False) == ""
    assert hosts.ssh(machine, "sudo blkid -s LABEL -o value /dev/disk/by-id/virtio-stays-1") == "stays"
    hosts.engine.destroy(machine.id)
    hosts.engine.destroy_disk("stays")


def test_a_snapshot_of_a_running_host_becomes_another_host_with_a_larger_disk(
    hosts: EngineHosts, first: Machine
) -> None:
    hosts.ssh(first, "echo from-first | sudo tee /origin; sync")
    size = hosts.engine.create_snapshot(first.id, "shot")
    assert 0 < size < GIB
    assert hosts.engine.create_snapshot(first.id, "shot") == size
    copy = hosts.boot(6, image="snapshot/shot", disk_gb=55)
    assert hosts.ssh(copy, "cat /origin") == "from-first"
    assert int(hosts.ssh(copy, "df --output=size -B1 / | tail -1")) > 50 * GIB
    assert hosts.ssh(copy, "hostname") == "host-6"
    hosts.engine.destroy(copy.id)
    hosts.engine.destroy_snapshot("shot")
    with pytest.raises(EngineError, match="no such snapshot"):
        hosts.engine.create(hosts.machine(7, image="snapshot/shot"))
    hosts.engine.destroy(hosts.machine(7).id)


def test_a_full_disk_is_really_full(hosts: EngineHosts, second: Machine) -> None:
    hosts.engine.fill_disk(second.id, full=True)
    assert "100%" in hosts.ssh(second, "df --output=pcent /")
    said = hosts.ssh(second, "sudo dd if=/dev/zero of=/more bs=64k count=4 2>&1", check=False)
    assert "No space left on device" in said
    hosts.engine.fill_disk(second.id, full=False)
    hosts.ssh(second, "sudo dd if=/dev/zero of=/more bs=64k count=4 && sudo rm /more")


@pytest.mark.full
def test_twenty_hosts_at_once_take_less_than_four_gib() -> None:
    def used() -> int:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return (int(lines["MemTotal"].split()[0]) - int(lines["MemAvailable"].split()[0])) * 1024

    with engine_lab("many") as hosts:
        before = used()
        with ThreadPoolExecutor(20) as pool:
            machines = list(pool.map(hosts.boot, range(1, 21)))
        assert used() - before < 4 * GIB
        assert all(hosts.engine.status(machine.id).running for machine in machines)
        assert len({hosts.ssh(machine, "hostname") for machine in machines}) == 20


def test_a_slow_host_takes_its_time_and_then_boots(hosts: EngineHosts) -> None:
    machine = hosts.machine(7, boot=5)
    hosts.engine.create(machine)
    began = time.monotonic()
    hosts.engine.start(machine)
    assert not greets(address(machine)), "it was waited for"
    until("sshd greets", lambda: greets(address(machine)), timeout_s=150)
    assert time.monotonic() - began > 5
    hosts.engine.destroy(machine.id)
