"""The simulated YubiHSM 2 over HTTP, in its connector's place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from yubihsm.core import YubiHsm
from yubihsm.defs import COMMAND, ERROR
from yubihsm.exceptions import YubiHsmConnectionError

from lab.engine import EngineError
from lab.hsm import __main__ as program
from lab.hsm import service, wire
from lab.hsm.storage import SERIALS
from tests.hsm import free_port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hsm") / "device"


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with service.running(folder, free_port(), serial=SERIALS.start + 1) as one:
        yield one


def status(url: str) -> dict[str, str]:
    lines = requests.get(f"{url}/connector/status", timeout=30).text.splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_it_says_everywhere_that_it_is_a_simulator(url: str, folder: Path) -> None:
    told = status(url)
    assert (told["status"], told["serial"], told["version"]) == ("OK", "0999000001", "3.0.5")
    assert "SIMULATOR" in told["simulator"]
    assert "SIMULATOR" in (folder / service.LOG).read_text()
    assert YubiHsm.connect(url).get_device_info().part_number == "SIMULATOR"


def test_a_session_over_http(url: str) -> None:
    with YubiHsm.connect(url) as host, host.create_session_derived(1, "password") as session:
        assert session.send_secure_cmd(COMMAND.ECHO, b"hello") == b"hello"


@pytest.mark.parametrize("length", [0, 2, 3140])
def test_what_can_be_no_frame_is_a_bad_request(url: str, length: int) -> None:
    assert requests.post(f"{url}/connector/api", data=bytes(length), timeout=30).status_code == 400


def test_what_is_no_frame_the_device_itself_refuses(url: str) -> None:
    answer = requests.post(f"{url}/connector/api", data=b"\1\0\5abc", timeout=30)
    assert answer.content == wire.error(ERROR.WRONG_LENGTH)
    assert requests.get(f"{url}/connector/api", timeout=30).status_code == 405


def test_faults_come_and_go_by_http(url: str) -> None:
    host = YubiHsm.connect(url)
    service.fault(url, "unplug")
    assert status(url)["status"] == "NO_DEVICE"
    with pytest.raises(YubiHsmConnectionError, match="500"):
        host.get_device_info()
    service.undo_faults(url)
    assert status(url)["status"] == "OK"
    service.fault(url, "corrupt", command="ECHO", times=3)
    assert [fault["times"] for fault in requests.get(f"{url}/lab/faults", timeout=30).json()] == [3]
    with pytest.raises(EngineError, match="unplug"):
        service.fault(url, "flood")
    service.undo_faults(url)
    assert requests.get(f"{url}/lab/faults", timeout=30).json() == []


def test_the_one_that_runs_is_found_again(url: str, folder: Path) -> None:
    pid = status(url)["pid"]
    assert service.start(folder, int(url.rpartition(":")[2])) == url
    assert status(url)["pid"] == pid


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.64.0.1", "10.95.0.1", "fd6d:7300:1::1"])
def test_it_listens_where_only_this_machine_and_its_labs_reach_it(address: str) -> None:
    assert program.private(address) == address


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.1", "10.0.0.1", "10.96.0.1", "2001:db8::1", "host"])
def test_it_listens_nowhere_else(address: str, tmp_path: Path) -> None:
    for place in (["--address", address], ["--usbredir", f"{address}:4000"]):
        assert program.main(["--state", str(tmp_path / "device"), "--port", "0", *place]) == 2
    assert not (tmp_path / "device").exists()
