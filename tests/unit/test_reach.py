"""The way to hosts."""

import os
import select
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from backup import rotation
from backup.custody import DataSet
from backup.reach import Reach, Unreachable, answer, forwarded, held, ledger_lines
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite


class Said(Reach):
    """To hosts whose agent says what is in the file."""

    def agent(self, host: str, *words: str) -> list[str]:
        return ["cat", str(self.config)]


def test_a_host_that_is_down_is_told_as_such(tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        config.write_text(f"Host vault-1\n  HostName 127.0.0.1\n  Port {nobody_listens.getsockname()[1]}\n")
        with pytest.raises(Unreachable, match=r"vault-1: .*refused"), forwarded(config, "vault-1", 8001):
            pass


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("exec sleep 60", "web-1: no answer within 0.1 s"),
        ("echo no route >&2; exit 255", "web-1: no route"),
        ("exit 3", "web-1: ended with 3"),
    ],
)
def test_another_machine_that_does_not_answer_is_told_as_such(command: str, told: str) -> None:
    with pytest.raises(Unreachable, match=f"^{told}$"):
        answer(["sh", "-c", command], "web-1", 0.1 if "sleep" in command else 60)


def test_what_another_machine_says_is_what_it_was_asked() -> None:
    assert answer(["cat"], "web-1", 60, b"a line\n").stdout == b"a line\n"
    assert answer(["sh", "-c", "wc -c; echo 1 >&2"], "web-1", 60, b"x" * 1_000_000).stdout.split() == [b"1000000"]
    assert answer(["sh", "-c", "exec >&-; sleep 0.1; echo that >&2"], "web-1", 60).stderr == b"that\n"
    with pytest.raises(InputError, match="cannot be run here"):
        answer(["no-such-program"], "web-1", 60)


@pytest.mark.parametrize("pipe", [1, 2])
def test_another_machine_that_says_too_much_is_listened_to_for_a_while(
    monkeypatch: pytest.MonkeyPatch, pipe: int
) -> None:
    monkeypatch.setattr("backup.reach.ANSWER_AT_MOST", 100_000)
    said = answer(["sh", "-c", f"exec yes some line >&{pipe}"], "web-1", 60)
    assert (said.stdout, said.stderr)[pipe - 1] == (b"some line\n" * 10_000)


def test_what_asks_another_machine_ends_with_all_that_it_started(tmp_path: Path) -> None:
    """As rsync does: the process that writes here is another one than the one that was begun."""
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(Unreachable, match="no answer within"):
        answer(["sh", "-c", f"(echo begun; exec sleep 60) >{tmp_path}/pipe & wait"], "web-1", 2)
    assert os.read(pipe, 100) == b"begun\n"
    assert select.select([pipe], [], [], 20)[0], "somebody can still write there"
    assert os.read(pipe, 100) == b""
    os.close(pipe)


def test_another_machine_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup.reach.LEDGER_AT_MOST", 100_000)
    with pytest.raises(Unreachable):
        answer(["sh", "-c", f"sleep 0.2; exec head -c 200000 /dev/zero >{tmp_path}/written"], "web-1", 60)
    assert (tmp_path / "written").stat().st_size == 100_000


def test_why_a_machine_does_not_answer_is_the_end_of_what_it_says() -> None:
    with pytest.raises(Unreachable, match=r"no route$") as told:
        answer(["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x >&2; echo no route >&2; exit 1"], "web-1", 60)
    assert len(str(told.value)) < 2000


def test_a_host_that_does_not_answer_holds_no_rotation_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that somebody broke into, whose password is then replaced."""

    class Hangs(Reach):
        def agent(self, host: str, *words: str) -> list[str]:
            return ["sleep", "60"]

    monkeypatch.setattr(rotation, "PROVE_S", 0.1)
    fleet = Fleet.model_validate({"site": {"name": "s", "domain": "example.org", "files": str(tmp_path)}, "hosts": {}})
    way = Hangs(LoadedSite(tmp_path / "s.toml", fleet), tmp_path)
    with pytest.raises(Unreachable, match=r"^web-1: no answer within 0\.1 s$"):
        rotation._prove_host(way, DataSet("web-1", "web"), "key")


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"one\ntw", [b"one"]),
        (b"rubbish", [b"rubbish"]),
        (b"\n", [b""]),
    ],
)
def test_what_was_cut_off_a_ledger_comes_with_the_next_answer(tmp_path: Path, said: bytes, lines: list[bytes]) -> None:
    (tmp_path / "said").write_bytes(said)
    fleet = Fleet.model_validate({"site": {"name": "s", "domain": "example.org", "files": str(tmp_path)}, "hosts": {}})
    way = Said(LoadedSite(tmp_path / "s.toml", fleet), tmp_path / "said")
    assert ledger_lines(way, DataSet("web-1", "web"), 0) == lines


def effective(way: Reach, host: str) -> list[str]:
    """The options that ssh goes by."""
    words = ["ssh", "-G", "-F", str(way.config), host]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(("name", "shares"), [("short", True), ("long" * 30, False)])
def test_all_commands_on_a_held_host_go_over_one_connection(name: str, shares: bool) -> None:
    """Unless the name of the socket would be longer than Linux takes, with which ssh refuses to do anything."""
    with TemporaryDirectory(prefix=f"{name}-") as folder:
        fleet = Fleet.model_validate({"site": {"name": "s", "domain": "example.org", "files": folder}, "hosts": {}})
        way = Reach(LoadedSite(Path(folder, "s.toml"), fleet), Path(folder, "ssh_config"))
        way.config.write_text("Host web-1\n  HostName 127.0.0.1\nHost vault-1\n  HostName 127.0.0.1\n")
        with held(way, "web-1"):
            assert ("controlmaster auto" in effective(way, "web-1")) == shares
            assert (f"controlpath {folder}/held" in effective(way, "web-1")) == shares
            assert "controlmaster false" in effective(way, "vault-1")
