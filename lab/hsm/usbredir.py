"""The device for a virtual machine: QEMU's `usb-redir` connects here and finds it on its USB.

The host's side of the protocol of usbredir, version 0.7:
https://gitlab.freedesktop.org/spice/usbredir/-/blob/main/docs/usb-redirection-protocol.md
All numbers are little-endian. QEMU 7.2 takes no device from a host that has not the capabilities of OFFERED.
"""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from lab.hsm import usb
from lab.hsm.device import Device, Unplugged

log = logging.getLogger("lab.hsm.usbredir")

HELLO, DEVICE_CONNECT, DEVICE_DISCONNECT, RESET, INTERFACE_INFO, EP_INFO = range(6)
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION_STATUS = 6, 7, 8
SET_ALT_SETTING, GET_ALT_SETTING, ALT_SETTING_STATUS = 9, 10, 11
CANCEL_DATA_PACKET = 21
CONTROL_PACKET, BULK_PACKET = 100, 101
SUCCESS, CANCELLED, _, IO_ERROR, STALL = range(5)
"""Status of a transfer."""
DEVICE_VERSION, EP_MAX_PACKET_SIZE, IDS_64_BITS, BULK_LENGTH_32_BITS = 1 << 1, 1 << 4, 1 << 5, 1 << 6
"""Capabilities."""
OFFERED = DEVICE_VERSION | EP_MAX_PACKET_SIZE | IDS_64_BITS | BULK_LENGTH_32_BITS
VERSION = b"Mainstay lab: SIMULATED YubiHSM 2".ljust(64, b"\0")
FULL_SPEED = 1
CONTROL_ENDPOINT, BULK_ENDPOINT, NO_ENDPOINT = 0, 2, 255
"""Types of endpoints, of which a device has 16 each way."""
CONTROL_HEADER, BULK_HEADER, SHORT_BULK_HEADER = "<BBBBHHH", "<BBHIH", "<BBHI"
MAX_PACKET_BYTES = 1 << 20


class Redirection:
    """One virtual machine's connection."""

    def __init__(self, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._device, self._reader, self._writer = device, reader, writer
        self._endpoints = usb.Endpoints(device)
        self._waiting: deque[tuple[int, int, int]] = deque()
        """Transfers from the device for which there is no reply yet: id, length, stream."""
        self._capabilities = 0
        self._connected = False

    async def run(self) -> None:
        """Serves until the machine hangs up or sends what is none of the protocol."""
        loop = asyncio.get_running_loop()

        def watch(plugged: bool) -> None:
            loop.call_soon_threadsafe(self._show, plugged)

        self._send(HELLO, 0, VERSION + struct.pack("<I", OFFERED), old=True)
        try:
            kind, _, data = await self._packet("<III")
            if kind != HELLO or len(data) < len(VERSION):
                raise ValueError("no hello")
            self._capabilities = OFFERED & int.from_bytes(data[len(VERSION) : len(VERSION) + 4], "little")
            self._device.watchers.append(watch)
            self._show(self._device.plugged)
            while True:
                kind, number, data = await self._packet("<IIQ" if self._capabilities & IDS_64_BITS else "<III")
                await self._take(kind, number, data)
                await self._writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            log.info("the virtual machine is gone")
        except (ValueError, struct.error, IndexError) as error:
            log.error("not as the protocol of usbredir has it: %s", error)
        finally:
            if watch in self._device.watchers:
                self._device.watchers.remove(watch)
            self._writer.close()

    async def _packet(self, form: str) -> tuple[int, int, bytes]:
        kind, length, number = struct.unpack(form, await self._reader.readexactly(struct.calcsize(form)))
        if length > MAX_PACKET_BYTES:
            raise ValueError(f"a packet of {length} bytes")
        return kind, number, await self._reader.readexactly(length)

    def _send(self, kind: int, number: int, data: bytes = b"", *, old: bool = False) -> None:
        form = "<IIQ" if self._capabilities & IDS_64_BITS and not old else "<III"
        self._writer.write(struct.pack(form, kind, len(data), number) + data)

    def _show(self, plugged: bool) -> None:
        """Plugs it into the virtual machine, or out of it."""
        if plugged == self._connected:
            return
        self._connected = plugged
        self._endpoints.clear()
        self._waiting.clear()
        if not plugged:
            self._send(DEVICE_DISCONNECT, 0)
            return
        self._send(INTERFACE_INFO, 0, struct.pack("<I", 1) + b"".join(_first(value) for value in (0, 0xFF, 0, 0)))
        kinds = bytearray([NO_ENDPOINT] * 32)
        sizes = [0] * 32
        for at, kind in ((0, CONTROL_ENDPOINT), (16, CONTROL_ENDPOINT), (1, BULK_ENDPOINT), (17, BULK_ENDPOINT)):
            kinds[at], sizes[at] = kind, usb.PACKET_BYTES
        packet_sizes = struct.pack("<32H", *sizes) if self._capabilities & EP_MAX_PACKET_SIZE else b""
        self._send(EP_INFO, 0, bytes(kinds) + bytes(32) + bytes(32) + packet_sizes)
        version = usb.version_bcd(self._device).to_bytes(2, "little")
        known = struct.pack("<BBBBHH", FULL_SPEED, 0, 0, 0, usb.VENDOR, usb.PRODUCT)
        self._send(DEVICE_CONNECT, 0, known + (version if self._capabilities & DEVICE_VERSION else b""))

    async def _take(self, kind: int, number: int, data: bytes) -> None:
        answers: dict[int, Callable[[], None]] = {
            SET_CONFIGURATION: lambda: self._send(CONFIGURATION_STATUS, number, bytes([SUCCESS, data[0]])),
            GET_CONFIGURATION: lambda: self._send(CONFIGURATION_STATUS, number, bytes([SUCCESS, 1])),
            SET_ALT_SETTING: lambda: self._send(ALT_SETTING_STATUS, number, bytes([SUCCESS, data[0], data[1]])),
            GET_ALT_SETTING: lambda: self._send(ALT_SETTING_STATUS, number, bytes([SUCCESS, data[0], 0])),
            RESET: self._endpoints.clear,
            CANCEL_DATA_PACKET: lambda: self._cancel(number),
            CONTROL_PACKET: lambda: self._control(number, data),
        }
        if kind == BULK_PACKET:
            await self._bulk(number, data)
        elif kind in answers:
            answers[kind]()

    def _control(self, number: int, data: bytes) -> None:
        endpoint, request, request_type, _, value, index, length = struct.unpack_from(CONTROL_HEADER, data)
        found = usb.control(self._device, request_type, request, value)
        answer = (found or b"")[:length]
        status = STALL if found is None else SUCCESS
        told = length if endpoint != 0x80 and found is not None else len(answer)
        head = struct.pack(CONTROL_HEADER, endpoint, request, request_type, status, value, index, told)
        self._send(CONTROL_PACKET, number, head + answer)

    async def _bulk(self, number: int, data: bytes) -> None:
        long = bool(self._capabilities & BULK_LENGTH_32_BITS)
        form = BULK_HEADER if long else SHORT_BULK_HEADER
        endpoint, _, length, stream, *high = struct.unpack_from(form, data)
        length += sum(high) << 16
        body = data[struct.calcsize(form) :]
        if endpoint == usb.IN:
            self._waiting.append((number, length, stream))
        elif endpoint == usb.OUT:
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._endpoints.put, body)
            except Unplugged:
                return  # Whoever unplugged it has told the machine.
            self._done(number, usb.OUT, SUCCESS, len(body), stream)
        else:
            self._done(number, endpoint, STALL, 0, stream)
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting:
            number, length, stream = self._waiting[0]
            given = self._endpoints.get(length)
            if given is None:
                return
            self._waiting.popleft()
            self._done(number, usb.IN, SUCCESS, len(given), stream, given)

    def _cancel(self, number: int) -> None:
        for waiting in list(self._waiting):
            if waiting[0] == number:
                self._waiting.remove(waiting)
                self._done(number, usb.IN, CANCELLED, 0, waiting[2])

    def _done(self, number: int, endpoint: int, status: int, length: int, stream: int, data: bytes = b"") -> None:
        head = struct.pack(SHORT_BULK_HEADER, endpoint, status, length & 0xFFFF, stream)
        if self._capabilities & BULK_LENGTH_32_BITS:
            head += (length >> 16).to_bytes(2, "little")
        self._send(BULK_PACKET, number, head + data)


def _first(value: int) -> bytes:
    """A table of 32 interfaces, of which there is one."""
    return bytes([value]) + bytes(31)


async def handle(device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serves one connection."""
    with suppress(ConnectionError):
        await Redirection(device, reader, writer).run()
