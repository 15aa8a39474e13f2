"""The simulated YubiHSM 2 over USB: what QEMU's `usb-redir` would be told, and a session through it."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from yubihsm.core import YubiHsm
from yubihsm.defs import COMMAND

from lab.hsm import service, usbredir, wire
from lab.hsm.storage import SERIALS
from tests.hsm import free_port
from tests.usb_guest import CAPABILITIES, Guest

SERIAL = SERIALS.start + 2
GET_DESCRIPTOR, FROM_DEVICE = 6, 0x80
DEVICE, CONFIGURATION, STRING, QUALIFIER = 1, 2, 3, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hsm") / "device"


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with service.running(folder, free_port(), serial=SERIAL) as one:
        yield one


@pytest.fixture
def guest(url: str, folder: Path) -> Iterator[Guest]:
    """To which the device has been shown."""
    one = Guest(folder / service.SOCKET)
    shown(one)
    yield one
    one.close()
    service.undo_faults(url)


def shown(guest: Guest) -> bytes:
    """What the guest is told of the device at last."""
    kinds = {}
    for _ in range(3):
        kind, _, data = guest.receive()
        kinds[kind] = data
    assert list(kinds) == [usbredir.INTERFACE_INFO, usbredir.EP_INFO, usbredir.DEVICE_CONNECT]
    interfaces, endpoints = kinds[usbredir.INTERFACE_INFO], kinds[usbredir.EP_INFO]
    assert (len(interfaces), interfaces[:4], interfaces[36]) == (132, b"\1\0\0\0", 0xFF)
    types = {at: kind for at, kind in enumerate(endpoints[:32]) if kind != usbredir.NO_ENDPOINT}
    assert types == {0: 0, 1: 2, 16: 0, 17: 2}
    return kinds[usbredir.DEVICE_CONNECT]


def text(guest: Guest, index: int) -> str:
    status, told = guest.control(FROM_DEVICE, GET_DESCRIPTOR, STRING << 8 | index)
    assert (status, told[0], told[1]) == (usbredir.SUCCESS, len(told), STRING)
    return told[2:].decode("utf-16-le")


@pytest.mark.usefixtures("url")
def test_a_virtual_machine_is_offered_what_qemu_needs_and_then_the_device(folder: Path) -> None:
    guest = Guest(folder / service.SOCKET)
    (offered,) = struct.unpack("<I", guest.hello[64:])
    assert offered == 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6
    assert b"SIMULATED" in guest.hello
    speed, *kind, vendor, product, version = struct.unpack("<BBBBHHH", shown(guest))
    assert (speed, kind, vendor, product, version) == (1, [0, 0, 0], 0x1050, 0x0030, 0x0240)
    guest.close()


def test_its_descriptors_are_those_of_a_yubihsm(guest: Guest) -> None:
    status, device = guest.control(FROM_DEVICE, GET_DESCRIPTOR, DEVICE << 8)
    assert (status, len(device), device[8:12]) == (usbredir.SUCCESS, 18, bytes.fromhex("50103000"))
    status, configuration = guest.control(FROM_DEVICE, GET_DESCRIPTOR, CONFIGURATION << 8)
    assert (status, len(configuration)) == (usbredir.SUCCESS, 32)
    assert int.from_bytes(configuration[2:4], "little") == 32
    assert configuration[14:18] == b"\xff\0\0\0"
    assert [configuration[18 + 2], configuration[25 + 2]] == [0x01, 0x81]
    assert "SIMULATOR" in text(guest, 1)
    assert (text(guest, 2), text(guest, 3)) == ("YubiHSM", f"{SERIAL:010}")
    for value in (QUALIFIER << 8, STRING << 8 | 9):
        assert guest.control(FROM_DEVICE, GET_DESCRIPTOR, value) == (usbredir.STALL, b"")


def test_it_is_configured(guest: Guest) -> None:
    for kind, data, answer, told in (
        (usbredir.SET_CONFIGURATION, b"\1", usbredir.CONFIGURATION_STATUS, b"\0\1"),
        (usbredir.GET_CONFIGURATION, b"", usbredir.CONFIGURATION_STATUS, b"\0\1"),
        (usbredir.SET_ALT_SETTING, b"\0\0", usbredir.ALT_SETTING_STATUS, b"\0\0\0"),
        (usbredir.GET_ALT_SETTING, b"\0", usbredir.ALT_SETTING_STATUS, b"\0\0\0"),
    ):
        number = guest.send(kind, data)
        assert guest.receive() == (answer, number, told)
    guest.send(usbredir.RESET)
    assert text(guest, 2) == "YubiHSM"


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("capabilities", [CAPABILITIES, 0])
def test_a_session_over_usb(folder: Path, capabilities: int) -> None:
    guest = Guest(folder / service.SOCKET, capabilities)
    shown_to_old = [guest.receive()[0] for _ in range(3)]
    assert shown_to_old[-1] == usbredir.DEVICE_CONNECT
    with YubiHsm(guest) as host, host.create_session_derived(1, "password") as session:
        for length in (0, 1, 32, 45, 2000):
            assert session.send_secure_cmd(COMMAND.ECHO, bytes(length)) == bytes(length)


@pytest.mark.parametrize("length", [60, 61, 62, 125, 3000])
def test_frames_of_every_length_pass_packet_by_packet(guest: Guest, length: int) -> None:
    frame = wire.frame(COMMAND.ECHO, bytes(length))
    for at in range(0, len(frame) + 1, 64):
        guest.write(frame[at : at + 64])
        if at + 64 > len(frame):
            break
    got: list[bytes] = []
    while not got or len(got[-1]) == 64:
        guest.ask(64)
        got.append(guest.answer())
    assert b"".join(got) == wire.reply(COMMAND.ECHO, bytes(length))


def test_a_host_waits_for_a_reply_or_gives_it_up(guest: Guest) -> None:
    given_up = guest.ask(8192)
    guest.send(usbredir.CANCEL_DATA_PACKET, number=given_up)
    kind, number, data = guest.receive()
    assert (kind, number, data[1]) == (usbredir.BULK_PACKET, given_up, usbredir.CANCELLED)
    awaited = guest.ask(8192)
    guest.write(wire.frame(COMMAND.ECHO, b"x"))
    kind, number, data = guest.receive()
    assert (kind, number, data[-4:]) == (usbredir.BULK_PACKET, awaited, wire.reply(COMMAND.ECHO, b"x"))


def test_unplugged_it_vanishes_and_another_one_may_come(url: str, guest: Guest) -> None:
    service.fault(url, "unplug")
    assert guest.receive()[0] == usbredir.DEVICE_DISCONNECT
    service.undo_faults(url)
    shown(guest)
    service.fault(url, "serial", serial=SERIAL + 1)
    assert guest.receive()[0] == usbredir.DEVICE_DISCONNECT
    shown(guest)
    assert text(guest, 3) == f"{SERIAL + 1:010}"


def test_pulled_out_in_the_midst_of_a_command_it_never_answers(url: str, guest: Guest) -> None:
    service.fault(url, "unplug", command="ECHO")
    frame = wire.frame(COMMAND.ECHO, b"x")
    head = struct.pack(usbredir.BULK_HEADER, 0x01, 0, len(frame), 0, 0)
    guest.send(usbredir.BULK_PACKET, head + frame)
    assert guest.receive()[0] == usbredir.DEVICE_DISCONNECT


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize(
    "nonsense", [b"\xff" * 64, struct.pack("<III", 1, 0, 0), struct.pack("<III", 0, 3, 0) + b"abc"], ids=len
)
def test_who_speaks_another_protocol_is_hung_up_on_and_the_next_one_is_served(folder: Path, nonsense: bytes) -> None:
    stranger = Guest(folder / service.SOCKET)
    shown(stranger)
    stranger.send(usbredir.CONTROL_PACKET, nonsense[:3])
    with pytest.raises(ConnectionError):
        stranger.receive()
    guest = Guest(folder / service.SOCKET)
    shown(guest)
    assert text(guest, 2) == "YubiHSM"
    guest.close()
