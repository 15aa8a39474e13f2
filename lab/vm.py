"""What only a virtual machine has, beside what every host of a lab has: USB ports, a console to sit at, and no network.

It is made by the provider's API like any other host; its instance's id is its name here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import qemu
from lab.console import Console
from lab.engine import EngineError, LabConfig
from lab.folder import Folder
from lab.qemu_command import CONSOLE, USB_BUS
from lab.qmp import Qmp, talk


class Vm:
    """One VM of a lab. Everything raises EngineError where it cannot be, as when the VM does not run."""

    def __init__(self, config: LabConfig, instance_id: str) -> None:
        self._folder = Folder.of(config, instance_id)
        machine = self._folder.machine
        if machine is None or machine.kind != "vm":
            raise EngineError(f"host {instance_id}: not a VM of lab {config.name}")

    @property
    def log(self) -> Path:
        """What its console has said since it was made."""
        return self._folder.console

    def runs(self) -> bool:
        """Whether it takes what is plugged in."""
        try:
            with self._talk():
                return True
        except EngineError:
            return False

    def console(self) -> Console:
        """Its serial console; close it, or use it as a context manager."""
        return Console(self._folder.path / CONSOLE)

    def offline(self, on: bool = True) -> None:
        """From its next start on it has no network interface at all, and root is let in at its console; or again as
        the provider has it."""
        mark = self._folder.path / "offline"
        if on:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def reset(self) -> None:
        """The button of that name: the system inside is not asked. For the loss of power there is the engine's stop."""
        with self._talk() as qmp:
            qmp("system_reset")

    def plug_stick(self, name: str, file: Path, serial: str) -> None:
        """A USB stick whose content is a file's, a multiple of 512 bytes long. name: what `unplug` knows it by."""
        disk = {"driver": "file", "filename": str(file.resolve()), "cache": {"no-flush": True}}
        with self._talk() as qmp:
            qmp("blockdev-add", driver="raw", node_name=f"usb-{name}", file=disk)
            try:
                self._plug(qmp, "usb-storage", name, drive=f"usb-{name}", serial=serial, removable=True)
            except EngineError:
                qmp("blockdev-del", node_name=f"usb-{name}")
                raise

    def plug_keyboard(self, name: str) -> None:
        """A USB keyboard that nobody types on."""
        with self._talk() as qmp:
            self._plug(qmp, "usb-kbd", name)

    def plug_redirected(self, name: str, socket: Path) -> None:
        """A USB device played by whoever listens at a UNIX socket and speaks usbredir (usbredir-protocol.txt)."""
        backend = {"type": "socket", "data": {"server": False, "addr": {"type": "unix", "data": {"path": str(socket)}}}}
        with self._talk() as qmp:
            qmp("chardev-add", id=f"usb-{name}", backend=backend)
            try:
                self._plug(qmp, "usb-redir", name, chardev=f"usb-{name}")
            except EngineError:
                qmp("chardev-remove", id=f"usb-{name}")
                raise

    def unplug(self, name: str) -> None:
        """Pulls a USB device out, whatever it does."""
        with self._talk() as qmp:
            qemu.unplug(qmp, f"usb-{name}")
            if f"usb-{name}" in qemu.nodes(qmp):
                qmp("blockdev-del", node_name=f"usb-{name}")

    @staticmethod
    def _plug(qmp: Qmp, driver: str, name: str, **properties: Any) -> None:
        qmp("device_add", driver=driver, id=f"usb-{name}", bus=USB_BUS, **properties)

    @contextmanager
    def _talk(self) -> Iterator[Qmp]:
        with talk(qemu.qmp_of(self._folder)) as qmp:
            yield qmp
