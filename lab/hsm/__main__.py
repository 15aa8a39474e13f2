"""`python -m lab.hsm`: one simulated YubiHSM 2, until SIGTERM or SIGINT.

It listens on loopback, on addresses of labs and on unix sockets, and refuses any other place: whoever reaches it can
use it, and its faults.
"""

import argparse
import asyncio
import ipaddress
import logging
import signal
import socket
import sys
from functools import partial
from pathlib import Path

from lab.api.server import Server, listen, serve, stop
from lab.engine import MAX_INDEX, LabConfig
from lab.hsm import connector, usbredir
from lab.hsm.device import Device
from lab.hsm.storage import SERIALS, StateError, Storage

log = logging.getLogger("lab.hsm")


def private(text: str) -> str:
    """An address on which nobody but this machine and its labs can reach it. Raises ValueError."""
    address = ipaddress.ip_address(text)
    labs = [LabConfig("", index, Path()) for index in range(MAX_INDEX + 1)]
    networks = [network for lab in labs for network in (lab.network4, lab.network6)]
    if not address.is_loopback and not any(address in network for network in networks):
        raise ValueError(
            f"{text} is no address of loopback or of a lab: a simulator is to be reached from nowhere else"
        )
    return text


def usb_listener(where: str) -> socket.socket:
    """A unix socket, where there is a slash in it, or ADDRESS:PORT. Raises ValueError, OSError."""
    if "/" not in where:
        address, _, port = where.rpartition(":")
        return listen(private(address), int(port))
    if Path(where).is_socket():
        Path(where).unlink()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
    Path(where).chmod(0o600)
    listener.listen()
    return listener


async def run(device: Device, http: socket.socket, usb: socket.socket | None) -> None:
    server = Server(connector.app(device))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, server)
    redirecting = await asyncio.start_server(partial(usbredir.handle, device), sock=usb) if usb else None
    await serve([(server, [http])])
    if redirecting:
        redirecting.close()


def main(arguments: list[str]) -> int:
    """Exit code 0; 2 when it cannot listen where it is told, or the state is no good."""
    parser = argparse.ArgumentParser(prog="python -m lab.hsm", description=connector.SIMULATOR)
    parser.add_argument("--state", type=Path, required=True, help="folder of the device's memory, made if needed")
    parser.add_argument("--port", type=int, required=True, help="of HTTP; 0 takes a free one")
    parser.add_argument("--address", default="127.0.0.1", help="of HTTP: loopback's, or a lab's")
    parser.add_argument("--usbredir", metavar="SOCKET", help="unix socket (with a slash), or ADDRESS:PORT")
    parser.add_argument("--serial", type=int, help=f"of a new device: {SERIALS.start} to {SERIALS.stop - 1}")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if given.serial is not None and given.serial not in SERIALS:
            raise ValueError(f"{given.serial} may be the serial number of a real device")
        http = listen(private(given.address), given.port)
        usb = usb_listener(given.usbredir) if given.usbredir else None
        storage = Storage(given.state)
        device = Device(storage, given.serial)
    except (ValueError, OSError, StateError) as error:
        log.error("%s", error)
        return 2
    log.warning("%s", "*" * 80)
    log.warning("%s", connector.SIMULATOR)
    log.warning("serial number %010d, at http://%s:%d", device.serial, *http.getsockname()[:2])
    log.warning("%s", "*" * 80)
    asyncio.run(run(device, http, usb))
    storage.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
