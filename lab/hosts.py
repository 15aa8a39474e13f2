"""The engine of the lab: hosts as files, wires and rules of this machine, which are containers or virtual machines.

What both have in common stands here; the two kinds are modules with the same functions (`Kind`): systemd-nspawn in
lab/nspawn.py, QEMU in lab/qemu.py.
"""

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as altered
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from inventories.files import replace
from lab import disks, firewall, groups, image, network, nspawn, nspawn_process, qemu, services
from lab.engine import EngineError, LabConfig, Machine, Rule, Status
from lab.folder import Folder, folders


class Kind(Protocol):
    """What is done otherwise for another kind of host. Called while the host is locked."""

    def make_root(self, folder: Folder, machine: Machine) -> None:
        """A fresh root disk over the machine's image, whose id is written down in the folder."""

    def require(self, image_id: str) -> None:
        """Raises EngineError where an image is not there, or not of this kind."""

    def start(self, config: LabConfig, folder: Folder, machine: Machine) -> None:
        """See `lab.engine.Engine.start`; the host does not run, its network is there, `machine` is written down."""

    def stop(self, config: LabConfig, folder: Folder, *, force: bool) -> None: ...

    def init_of(self, supervisor: int) -> int:
        """The process on this machine that stands for the host's init."""

    def nics_changed(self, folder: Folder, machine: Machine) -> None:
        """Raises EngineError where interfaces cannot be changed as the host is now."""

    def attach(self, config: LabConfig, folder: Folder, disk_id: str, serial: str) -> None: ...

    def detach(self, config: LabConfig, folder: Folder, disk_id: str) -> None: ...

    def resized(self, config: LabConfig, folder: Folder, disk_id: str) -> None:
        """Tells a host that may run of the new size of a disk attached to it."""

    def copy_out(self, folder: Folder, target: Path) -> None:
        """Copies the root disk of a host that may run, as it is at one moment."""

    def fill(self, folder: Folder, *, full: bool) -> None: ...


KINDS: Mapping[str, Kind] = {"container": nspawn, "vm": qemu}
"""By `lab.engine.Machine.kind`."""


class LabEngine:
    """See lab.engine.Engine. Keeps nothing in memory: any number of these, in any processes, serve the same lab."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config

    def prepare(self) -> None:
        self.config.root.mkdir(parents=True, exist_ok=True)
        nspawn_process.raise_limits()
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
            before = self._save(folder, machine)
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
            before = self._save(folder, machine)
            machine = altered(machine, nics=()) if folder.offline else machine
            self._plug(folder, machine, before)
            KINDS[machine.kind].start(self.config, folder, machine)

    def stop(self, machine_id: str, *, force: bool = False) -> None:
        with self._lock(machine_id):
            folder = self._folder(machine_id)
            _kind(folder).stop(self.config, folder, force=force)

    def reinstall(self, machine: Machine) -> None:
        with self._lock(machine.id):
            folder = self._folder(machine.id)
            _kind(folder).stop(self.config, folder, force=True)
            self._save(folder, machine)
            self._make_root(folder, machine)

    def destroy(self, machine_id: str) -> None:
        with self._lock(machine_id):
            folder = self._folder(machine_id)
            _kind(folder).stop(self.config, folder, force=True)
            with self._lock("network"):
                network.unplug(self.config, machine_id)
                groups.remove(self.config, machine_id)
                nspawn_process.forget(self.config, machine_id)
                shutil.rmtree(folder.path, ignore_errors=True)
                self._load_guard()

    def status(self, machine_id: str) -> Status:
        folder = self._folder(machine_id)
        supervisor = folder.supervisor
        if not supervisor:
            return Status(running=False)
        pid = _kind(folder).init_of(supervisor) or supervisor
        return Status(running=True, pid=pid, memory_bytes=groups.memory_of(self.config, machine_id))

    def set_nics(self, machine: Machine) -> None:
        with self._lock(machine.id):
            folder = self._folder(machine.id)
            KINDS[machine.kind].nics_changed(folder, machine)
            before = self._save(folder, machine)
            self._plug(folder, machine, before)

    def create_disk(self, disk_id: str, size_gb: int) -> None:
        disks.create(self.config, disk_id, size_gb)

    def resize_disk(self, disk_id: str, size_gb: int) -> None:
        disks.resize(self.config, disk_id, size_gb)
        for folder in folders(self.config):
            if disk_id in folder.disks:
                with self._lock(folder.path.name):
                    _kind(folder).resized(self.config, folder, disk_id)

    def destroy_disk(self, disk_id: str) -> None:
        disks.destroy(self.config, disk_id)

    def attach_disk(self, machine_id: str, disk_id: str, serial: str) -> None:
        with self._lock(machine_id):
            folder = self._folder(machine_id)
            _kind(folder).attach(self.config, folder, disk_id, serial)

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        with self._lock(machine_id):
            folder = self._folder(machine_id)
            _kind(folder).detach(self.config, folder, disk_id)

    def create_snapshot(self, machine_id: str, snapshot_id: str) -> int:
        with self._lock(machine_id):
            folder, target = self._folder(machine_id), self._snapshot(snapshot_id)
            if not (target / "disk.img").exists():
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir(parents=True)
                _kind(folder).copy_out(folder, target / "disk.new")
                (target / "image").write_text(folder.image)
                (target / "disk.new").replace(target / "disk.img")
            return disks.used(target / "disk.img")

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
            folder = self._folder(machine_id)
            _kind(folder).fill(folder, full=full)

    def sweep(self) -> None:
        """Also ends the package cache when this was the last lab that used it."""
        groups.end(self.config)
        network.sweep(self.config)
        firewall.sweep(self.config)
        disks.release_all(self.config)
        groups.sweep(self.config)
        for left in nspawn_process.PROPAGATE.glob(f"{self.config.prefix}-*"):
            left.rmdir()
        services.leave_cache(self.config)

    def _folder(self, machine_id: str) -> Folder:
        return Folder.of(self.config, machine_id)

    def _snapshot(self, snapshot_id: str) -> Path:
        return self.config.root / "snapshots" / snapshot_id

    def _save(self, folder: Folder, machine: Machine) -> Machine | None:
        """Writes down what a host is to be, and returns what it was to be before. Raises EngineError."""
        before = folder.machine
        if before and before.kind != machine.kind:
            raise EngineError(f"host {machine.id}: is a {before.kind}, and cannot become a {machine.kind}")
        folder.save_machine(machine)
        return before

    def _make_root(self, folder: Folder, machine: Machine) -> None:
        kind = KINDS[machine.kind]
        if not machine.image.startswith("snapshot/"):
            kind.make_root(folder, machine)
            return
        snapshot = self._snapshot(machine.image.removeprefix("snapshot/"))
        if not (snapshot / "image").exists():
            raise EngineError(f"{snapshot}: no such snapshot")
        image_id = (snapshot / "image").read_text()
        kind.require(image_id)
        fresh = folder.path / "disk.new"
        disks.copy(snapshot / "disk.img", fresh)
        replace(folder.path / "image", image_id)
        fresh.replace(folder.disk)

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


def _kind(folder: Folder) -> Kind:
    """A host that there is not has nothing to end: any will do."""
    machine = folder.machine
    return KINDS[machine.kind if machine else "container"]
