"""Hosts as systemd-nspawn containers: Debian's own init over a shared image, up in about a second.

Needs nothing but root, and no systemd as this machine's init. What it cannot be: a kernel of its own (the clock,
kernel.* sysctls, modules and audit are this machine's), a CPU limit (`vcpus`), or a wall against a hostile root inside.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from inventories.files import replace
from lab import image, network, prepared, services
from lab import nspawn_disks as disks
from lab import nspawn_firewall as firewall
from lab import nspawn_groups as groups
from lab import nspawn_process as process
from lab.engine import EngineError, LabConfig, Machine, Rule, Status
from lab.nspawn_folder import Folder, folders


class NspawnEngine:
    """See lab.engine.Engine. Keeps nothing in memory: any number of these, in any processes, serve the same lab."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config

    def prepare(self) -> None:
        self.config.root.mkdir(parents=True, exist_ok=True)
        process.raise_limits()
        services.use_cache(self.config)
        image.build(services.LOCAL_CACHE_URL)
        with self._lock("network"):
            network.up(self.config)
            saved = self.config.root / "firewall.nft"
            firewall.load(saved.read_text() if saved.exists() else firewall.firewall(self.config, {}))
            self._load_guard()

    def create(self, machine: Machine) -> None:
        with self._lock(machine.id):
            folder = self._folder(machine.id)
            before = folder.machine
            folder.save_machine(machine)
            if not folder.disk.exists():
                self._make_root(folder, machine)
            self._plug(folder, machine, before)

    def start(self, machine: Machine) -> None:
        with self._lock(machine.id):
            folder = self._folder(machine.id)
            if folder.supervisor:
                return
            if not folder.disk.exists():
                raise EngineError(f"host {machine.id}: not created")
            before = folder.machine
            folder.save_machine(machine)
            self._plug(folder, machine, before)
            disks.grow_root(folder.disk, machine.disk_gb)
            disks.bring_up(self.config, folder)
            process.start(self.config, machine, image.root_of(folder.image), services.cache_url(self.config))

    def stop(self, machine_id: str, *, force: bool = False) -> None:
        with self._lock(machine_id):
            self._stop(machine_id, force=force)

    def _stop(self, machine_id: str, *, force: bool) -> None:
        process.stop(self.config, machine_id, force=force)
        for disk_id in self._folder(machine_id).disks:
            disks.release(disks.disk_file(self.config, disk_id))

    def reinstall(self, machine: Machine) -> None:
        with self._lock(machine.id):
            self._stop(machine.id, force=True)
            folder = self._folder(machine.id)
            folder.save_machine(machine)
            self._make_root(folder, machine)

    def destroy(self, machine_id: str) -> None:
        with self._lock(machine_id):
            folder = self._folder(machine_id)
            self._stop(machine_id, force=True)
            with self._lock("network"):
                network.unplug(self.config, machine_id)
                groups.remove(self.config, machine_id)
                process.forget(self.config, machine_id)
                shutil.rmtree(folder.path, ignore_errors=True)
                self._load_guard()

    def status(self, machine_id: str) -> Status:
        supervisor = self._folder(machine_id).supervisor
        if not supervisor:
            return Status(running=False)
        pid = process.init_of(supervisor) or supervisor
        return Status(running=True, pid=pid, memory_bytes=groups.memory_of(self.config, machine_id))

    def set_nics(self, machine: Machine) -> None:
        with self._lock(machine.id):
            folder = self._folder(machine.id)
            before = folder.machine
            folder.save_machine(machine)
            self._plug(folder, machine, before)

    def create_disk(self, disk_id: str, size_gb: int) -> None:
        disks.create(self.config, disk_id, size_gb)

    def resize_disk(self, disk_id: str, size_gb: int) -> None:
        disks.resize(self.config, disk_id, size_gb)

    def destroy_disk(self, disk_id: str) -> None:
        path = disks.disk_file(self.config, disk_id)
        disks.release(path)
        path.unlink(missing_ok=True)

    def attach_disk(self, machine_id: str, disk_id: str, serial: str) -> None:
        with self._lock(machine_id):
            disks.attach(self.config, self._folder(machine_id), disk_id, serial)

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        with self._lock(machine_id):
            disks.detach(self.config, self._folder(machine_id), disk_id)

    def create_snapshot(self, machine_id: str, snapshot_id: str) -> int:
        with self._lock(machine_id):
            return disks.snapshot(self._folder(machine_id), self._snapshot(snapshot_id))

    def destroy_snapshot(self, snapshot_id: str) -> None:
        shutil.rmtree(self._snapshot(snapshot_id), ignore_errors=True)

    def set_firewall(self, addresses: dict[str, tuple[Rule, ...]]) -> None:
        known = {str(ip_address(address)): rules for address, rules in addresses.items()}
        rules = firewall.firewall(self.config, known)
        with self._lock("network"):
            firewall.load(rules)
            replace(self.config.root / "firewall.nft", rules)

    def console(self, machine_id: str) -> Path:
        return self._folder(machine_id).console

    def cut(self, machine_id: str, *, off: bool) -> None:
        with self._lock(machine_id):
            mark = self._folder(machine_id).path / "cut"
            if off:
                mark.touch()
            else:
                mark.unlink(missing_ok=True)
            network.set_links(self.config, machine_id, up=not off)

    def fill_disk(self, machine_id: str, *, full: bool) -> None:
        with self._lock(machine_id):
            disks.fill_root(self._folder(machine_id), full=full)

    def sweep(self) -> None:
        """Also ends the package cache when this was the last lab that used it."""
        process.end(self.config)
        network.sweep(self.config)
        firewall.sweep(self.config)
        disks.release_all(self.config)
        groups.sweep(self.config)
        for left in process.PROPAGATE.glob(f"{self.config.prefix}-*"):
            left.rmdir()
        services.leave_cache(self.config)

    def _folder(self, machine_id: str) -> Folder:
        return Folder.of(self.config, machine_id)

    def _snapshot(self, snapshot_id: str) -> Path:
        return self.config.root / "snapshots" / snapshot_id

    def _make_root(self, folder: Folder, machine: Machine) -> None:
        if machine.image.startswith("snapshot/"):
            disks.copy_root(folder, self._snapshot(machine.image.removeprefix("snapshot/")))
        elif machine.image.startswith(prepared.PREFIX):
            disks.create_root(folder, machine.disk_gb, prepared.image_id(machine.image))
        else:
            disks.create_root(folder, machine.disk_gb, image.image_id())

    def _plug(self, folder: Folder, machine: Machine, before: Machine | None) -> None:
        network_folder = folder.path / "network"
        network_folder.mkdir(exist_ok=True)
        wanted = {}
        for nic in machine.nics:
            wanted[f"10-{nic.mac.replace(':', '')}.network"] = network.networkd_file(self.config, nic)
        for name, text in wanted.items():
            (network_folder / name).write_text(text)
        for path in network_folder.iterdir():
            if path.name not in wanted:
                path.unlink()
        with self._lock("network"):
            network.plug(self.config, machine, before, cut=folder.cut)
            self._load_guard()

    def _load_guard(self) -> None:
        machines = [machine for folder in folders(self.config) if (machine := folder.machine)]
        firewall.load(firewall.guard(self.config, firewall.ports(self.config, machines)))

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """One call at a time for a host, or for the network of the lab, whatever process it comes from."""
        locks = self.config.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
