"""An engine that makes nothing and remembers everything: the API's own behaviour, without hosts."""

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from lab.engine import LabConfig, Machine, Rule, Status


class NullEngine:
    """See `lab.engine.Engine`. `calls` lists what was asked; `hold` stops every start until it is set."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config
        self.calls: list[tuple[Any, ...]] = []
        self.running: set[str] = set()
        self.machines: dict[str, Machine] = {}
        self.disks: dict[str, int] = {}
        self.rules: dict[str, tuple[Rule, ...]] = {}
        self.hold = Event()
        self.hold.set()
        self.on: Callable[[str], None] = lambda call: None

    def _note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        self.on(name)

    def prepare(self) -> None:
        self._note("prepare")

    def create(self, machine: Machine) -> None:
        self.machines[machine.id] = machine
        self._note("create", machine.id)

    def start(self, machine: Machine) -> None:
        self.hold.wait(30)
        self.machines[machine.id] = machine
        self.running.add(machine.id)
        self._note("start", machine.id)

    def stop(self, machine_id: str, *, force: bool = False) -> None:
        self.running.discard(machine_id)
        self._note("stop", machine_id, force)

    def reinstall(self, machine: Machine) -> None:
        self.running.discard(machine.id)
        self._note("reinstall", machine.id, machine.image)

    def destroy(self, machine_id: str) -> None:
        self.machines.pop(machine_id, None)
        self.running.discard(machine_id)
        self._note("destroy", machine_id)

    def status(self, machine_id: str) -> Status:
        return Status(machine_id in self.running)

    def set_nics(self, machine: Machine) -> None:
        self.machines[machine.id] = machine
        self._note("set_nics", machine.id)

    def create_disk(self, disk_id: str, size_gb: int) -> None:
        self._note("create_disk", disk_id)
        self.disks.setdefault(disk_id, size_gb)

    def resize_disk(self, disk_id: str, size_gb: int) -> None:
        self._note("resize_disk", disk_id, size_gb)
        self.disks[disk_id] = size_gb

    def destroy_disk(self, disk_id: str) -> None:
        self.disks.pop(disk_id, None)
        self._note("destroy_disk", disk_id)

    def attach_disk(self, machine_id: str, disk_id: str, serial: str) -> None:
        self._note("attach_disk", machine_id, disk_id, serial)

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        self._note("detach_disk", machine_id, disk_id)

    def create_snapshot(self, machine_id: str, snapshot_id: str) -> int:
        self._note("create_snapshot", machine_id, snapshot_id)
        return 1000

    def destroy_snapshot(self, snapshot_id: str) -> None:
        self._note("destroy_snapshot", snapshot_id)

    def set_firewall(self, addresses: dict[str, tuple[Rule, ...]]) -> None:
        self.rules = addresses
        self._note("set_firewall")

    def console(self, machine_id: str) -> Path:
        return self.config.root / machine_id

    def cut(self, machine_id: str, *, off: bool) -> None:
        self._note("cut", machine_id, off)

    def fill_disk(self, machine_id: str, *, full: bool) -> None:
        self._note("fill_disk", machine_id, full)

    def sweep(self) -> None:
        self._note("sweep")
