"""The files are age's own: Debian's age reads what is written here, and what it writes is read here."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from inventories.secrets import Entry, Secrets, read, write
from tests.terminal import on_a_terminal

TOKEN = "correct-horse-battery"


@pytest.fixture
def ssh_key(tmp_path: Path) -> Path:
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


@pytest.fixture
def age_key(tmp_path: Path) -> Path:
    key = tmp_path / "age.txt"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True)
    return key


def _recipient(key: Path) -> str:
    if key.suffix == ".txt":
        return subprocess.check_output(["age-keygen", "-y", str(key)], text=True).strip()
    return key.with_suffix(".pub").read_text().strip()


@pytest.mark.parametrize("kind", ["ssh_key", "age_key"])
def test_age_itself_decrypts_a_secret_to_a_readable_line(
    kind: str, ssh_key: Path, age_key: Path, tmp_path: Path
) -> None:
    file = tmp_path / "secrets.age"
    Secrets.create(file, {"alice": [_recipient(ssh_key)], "bob": [_recipient(age_key)]}, {"token": TOKEN})
    key = {"ssh_key": ssh_key, "age_key": age_key}[kind]
    armor = tomllib.loads(file.read_text())["token"]["value"]
    plain = subprocess.run(
        ["age", "-d", "-i", str(key)], input=armor, capture_output=True, text=True, check=True
    ).stdout
    assert tomllib.loads(plain) == {"token": TOKEN}


def test_what_age_itself_encrypted_is_read(ssh_key: Path, tmp_path: Path) -> None:
    command = ["age", "-a", "-r", _recipient(ssh_key)]
    armor = subprocess.run(command, input=f'token = "{TOKEN}"', capture_output=True, text=True, check=True).stdout
    write(tmp_path / "s", {"token": Entry(value=armor, readers=("alice by hand",))})
    entry = read(tmp_path / "s")["token"]
    assert entry.value == armor.strip()
    labelled = entry.model_copy(update={"readers": (f"alice {_fingerprint(ssh_key)}",)})
    write(tmp_path / "s", {"token": labelled})
    assert Secrets(tmp_path / "s", [ssh_key])["token"].get_secret_value() == TOKEN


def _fingerprint(key: Path) -> str:
    return subprocess.check_output(["ssh-keygen", "-lf", str(key)], text=True).split()[1]


def test_a_key_file_that_age_protected_with_a_passphrase_is_unlocked_once(age_key: Path, tmp_path: Path) -> None:
    file, locked = tmp_path / "secrets.age", tmp_path / "locked.txt"
    Secrets.create(file, {"bob": [_recipient(age_key)]}, {"token": TOKEN})

    def protect() -> int:
        return os.spawnvp(os.P_WAIT, "age", ["age", "-p", "-o", str(locked), str(age_key)])

    assert on_a_terminal(protect, ["open sesame", "open sesame"])[1] == 0

    def read_twice() -> int:
        for _ in range(2):
            os.write(1, f"GOT {Secrets(file, [locked])['token'].get_secret_value()}\n".encode())
        return 0

    seen, code = on_a_terminal(read_twice, ["open sesame"])
    assert (code, seen.count(f"GOT {TOKEN}"), seen.count("Passphrase of")) == (0, 2, 1)
    assert "sesame" not in seen
