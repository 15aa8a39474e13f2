"""The device as USB sees it: its descriptors (USB 2.0, chapter 9), and frames in and out of its two bulk endpoints."""

import struct
from collections import deque

from lab.hsm.device import Device

VENDOR, PRODUCT = 0x1050, 0x0030
OUT, IN = 0x01, 0x81
PACKET_BYTES = 64
VENDOR_CLASS = 0xFF
MANUFACTURER = "SIMULATOR of the Mainstay lab"
NAME = "YubiHSM"
ENGLISH = 0x0409
DEVICE, CONFIGURATION, STRING = 1, 2, 3
"""Types of descriptors."""
TO_HOST, TO_DEVICE, TO_ENDPOINT = 0x80, 0x00, 0x02
GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR, GET_CONFIGURATION = 0, 1, 3, 6, 8


def version_bcd(device: Device) -> int:
    major, minor, patch = device.firmware
    return major << 8 | minor << 4 | patch


def control(device: Device, kind: int, request: int, value: int) -> bytes | None:
    """What a control transfer to the device, its interface or an endpoint answers; None is a stall."""
    direction = kind & TO_HOST
    if direction and request == GET_DESCRIPTOR:
        return _descriptor(device, value >> 8, value & 0xFF)
    if direction and request == GET_STATUS:
        return bytes(2)
    if direction and request == GET_CONFIGURATION:
        return b"\1"
    if not direction and request in (CLEAR_FEATURE, SET_FEATURE):
        return b""
    return None


def _descriptor(device: Device, kind: int, index: int) -> bytes | None:
    if kind == DEVICE:
        numbers = (0x0200, 0, 0, 0, PACKET_BYTES, VENDOR, PRODUCT, version_bcd(device), 1, 2, 3, 1)
        return struct.pack("<BBHBBBBHHHBBBB", 18, DEVICE, *numbers)
    if kind == CONFIGURATION:
        interface = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 2, VENDOR_CLASS, 0, 0, 0)
        endpoints = b"".join(struct.pack("<BBBBHB", 7, 5, address, 2, PACKET_BYTES, 0) for address in (OUT, IN))
        length = 9 + len(interface + endpoints)
        return struct.pack("<BBHBBBBB", 9, CONFIGURATION, length, 1, 1, 0, 0x80, 50) + interface + endpoints
    strings = ("", MANUFACTURER, NAME, f"{device.serial:010}")
    if kind == STRING and index < len(strings):
        text = strings[index].encode("utf-16-le") if index else struct.pack("<H", ENGLISH)
        return bytes([2 + len(text), STRING]) + text
    return None


class Endpoints:
    """Frames come in packets, of which a short one is the last; replies go out in what the host asks for."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._coming = b""
        self._replies: deque[bytes] = deque()

    def put(self, data: bytes) -> None:
        """Takes some packets of a frame, and carries it out when it is whole. Raises Unplugged."""
        self._coming += data
        if len(data) % PACKET_BYTES == 0 and data:
            return
        whole, self._coming = self._coming, b""
        if whole:
            self._replies.append(self._device.transceive(whole))

    def get(self, length: int) -> bytes | None:
        """The next packets of a reply, or None while there is none. Fewer bytes than asked for are the end of it.

        A reply that has just been taken by whole packets ends with an empty one.
        """
        if not self._replies:
            return None
        reply = self._replies.popleft()
        given, left = reply[:length], reply[length:]
        if left or len(given) == length:
            self._replies.appendleft(left)
        return given

    def clear(self) -> None:
        self._coming = b""
        self._replies.clear()
