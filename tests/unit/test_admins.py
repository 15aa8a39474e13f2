"""Who may be an admin, and how the file answers when it says something else."""

import base64
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyrage import x25519

from inventories.admins import load_admins, parse
from inventories.errors import InputError
from lab.sites import REPOSITORY

FILE = Path("admins.toml")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _line(kind: str, *parts: bytes) -> str:
    return f"{kind} {base64.b64encode(b''.join(map(_string, (kind.encode(), *parts)))).decode()}"


SK_ED25519 = _line("sk-ssh-ed25519@openssh.com", bytes(range(32)), b"ssh:")
SK_ECDSA = _line("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\x04" + bytes(64), b"ssh:")
AGE = str(x25519.Identity.generate().to_public())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Public keys of several types as ssh-keygen itself makes them."""
    folder = tmp_path_factory.mktemp("keys")
    options = {"alice": "ed25519", "bob": "ed25519", "ecdsa": "ecdsa", "rsa": "rsa"}
    for name, kind in options.items():
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{name}@laptop", "-f", str(folder / name)]
        subprocess.run([*command, *(["-b", "2048"] if kind == "rsa" else [])], check=True)
    return {name: (folder / f"{name}.pub").read_text().strip() for name in options}


def _refused(admins: dict[str, Any]) -> InputError:
    with pytest.raises(InputError) as caught:
        parse(FILE, {"admins": admins})
    assert caught.value.file == "admins.toml"
    return caught.value


def test_an_admin_with_one_key_has_sudo_everywhere_and_reads_secrets_with_it(made: dict[str, str]) -> None:
    admins = parse(FILE, {"admins": {"alice": {"ssh_keys": [made["alice"]]}}})
    (alice,) = admins.for_role("release")
    assert (alice.name, alice.sudo, alice.ssh_keys) == ("alice", True, (made["alice"],))
    assert admins.recipients() == {"alice": (made["alice"].rsplit(" ", 1)[0],)}


def test_roles_limit_where_an_admin_has_an_account(made: dict[str, str]) -> None:
    tables = {"alice": {"ssh_keys": [made["alice"]]}, "bob": {"ssh_keys": [made["bob"]], "roles": ["web"]}}
    admins = parse(FILE, {"admins": tables})
    assert [admin.name for admin in admins.for_role("web")] == ["alice", "bob"]
    assert [admin.name for admin in admins.for_role("release")] == ["alice"]


@pytest.mark.parametrize(("field", "value"), [("sudo", True), ("age_recipients", [AGE])])
def test_a_publisher_has_neither_sudo_nor_secrets(made: dict[str, str], field: str, value: object) -> None:
    table = {"ssh_keys": [made["alice"]], "publisher": True}
    admins = parse(FILE, {"admins": {"alice": table}})
    assert (admins.admins["alice"].sudo, admins.recipients()) == (False, {})
    assert _refused({"alice": table | {field: value}}).field == f"admins.alice.{field}"


@pytest.mark.parametrize("line", [SK_ED25519, SK_ECDSA])
def test_an_admin_with_only_a_security_key_must_say_what_secrets_are_encrypted_to(line: str) -> None:
    error = _refused({"carol": {"ssh_keys": [line]}})
    assert error.field == "admins.carol.age_recipients"
    assert "age-keygen" in str(error)
    admins = parse(FILE, {"admins": {"carol": {"ssh_keys": [line], "age_recipients": [AGE]}}})
    assert admins.recipients() == {"carol": (AGE,)}


def test_the_example_is_an_admin_who_reads_secrets_with_her_login_key(tmp_path: Path, made: dict[str, str]) -> None:
    lines = (REPOSITORY / "inventories/admins.example").read_text().splitlines()
    text = "\n".join(line.removeprefix("# ") for line in lines if line.startswith("# [") or " = " in line)
    path = tmp_path / "admins.toml"
    path.write_text(text.replace("ssh-ed25519 AAAA... alice@laptop", made["alice"]))
    assert load_admins(path).recipients() == {"alice": (made["alice"].rsplit(" ", 1)[0],)}


def test_a_given_recipient_stands_instead_of_the_login_keys(made: dict[str, str]) -> None:
    admins = parse(FILE, {"admins": {"alice": {"ssh_keys": [made["alice"], SK_ED25519], "age_recipients": [AGE]}}})
    assert admins.recipients() == {"alice": (AGE,)}


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_weak_key_types_are_refused_with_a_reason_and_what_to_do(made: dict[str, str], kind: str) -> None:
    error = _refused({"alice": {"ssh_keys": [made["alice"], made[kind]]}})
    assert error.field == "admins.alice.ssh_keys.1"
    assert "keys are refused: " in error.problem
    assert "ssh-keygen -t ed25519" in error.hint


ED = "ssh-ed25519"
BAD_KEYS = [
    (_line(ED, bytes(32)).replace("AAAAIAAA", "AAAAI!AAA"), "base64 part is malformed"),
    (f"{ED} ", "cut off or damaged"),
    (_line(ED, bytes(31)), "not that of a ssh-ed25519 key"),
    (_line(ED, bytes(32), b"more"), "not that of a ssh-ed25519 key"),
    (_line(ED, bytes(32))[:-8], "cut off"),
    (f"{ED} " + _line("ssh-rsa", b"\x01").split()[1], "says ssh-ed25519 but holds 'ssh-rsa'"),
    (_line(ED, b"\x02" + bytes(31)), "age refuses it"),
    (_line("ssh-dss", b"x"), "DSA keys are refused"),
    ('from="10.0.0.1" ' + _line(ED, bytes(32)), "options before it are not allowed"),
    (_line(ED, bytes(32)) + " a\nssh-ed25519 AAAA", "one line"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_KEYS)
def test_a_damaged_key_is_refused_and_located(line: str, problem: str) -> None:
    error = _refused({"alice": {"ssh_keys": [line]}})
    assert error.field == "admins.alice.ssh_keys.0"
    assert re.search(problem, str(error)), str(error)


def test_the_same_key_for_two_people_is_refused(made: dict[str, str]) -> None:
    shared = made["alice"].rsplit(" ", 1)[0] + " another-comment"
    error = _refused({"alice": {"ssh_keys": [made["alice"]]}, "bob": {"ssh_keys": [made["bob"], shared]}})
    assert error.field == "admins.bob.ssh_keys.1"
    assert "already a key of alice" in error.problem


def test_a_shared_recipient_is_refused(made: dict[str, str]) -> None:
    tables = {name: {"ssh_keys": [made[name]], "age_recipients": [AGE]} for name in ("alice", "bob")}
    assert _refused(tables).field == "admins.bob.age_recipients.0"


@pytest.mark.parametrize(
    "recipient",
    ["age1", AGE[:-1] + "b", SK_ED25519, "AGE-SECRET-KEY-1QQQ"],
    ids=["cut short", "mistyped", "sk- key", "secret key"],
)
def test_a_recipient_age_cannot_encrypt_to_is_refused(made: dict[str, str], recipient: str) -> None:
    error = _refused({"alice": {"ssh_keys": [made["alice"]], "age_recipients": [recipient]}})
    assert error.field == "admins.alice.age_recipients.0"


@pytest.mark.parametrize(
    "name",
    ["root", "www-data", "sudo", "systemd-network", "Alice", "al ice", "1alice", "a" * 33, "alice;id", "_a", "é"],
)
def test_a_name_that_cannot_be_a_persons_account_is_refused(made: dict[str, str], name: str) -> None:
    assert _refused({name: {"ssh_keys": [made["alice"]]}}).field == f"admins.{name}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ssh_key": "x"}, "ssh_key"),
        ({"name": "bob"}, "name"),
        ({"sudo": "maybe"}, "sudo"),
        ({"roles": []}, "roles"),
        ({"roles": ["Web"]}, "roles.0"),
        ({"ssh_keys": []}, "ssh_keys"),
        ({"ssh_keys": "ssh-ed25519 AAAA"}, "ssh_keys"),
        ({"full_name": "Alice:0:0"}, "full_name"),
        ({"age_recipients": ""}, "age_recipients"),
    ],
)
def test_an_unknown_or_wrong_field_is_named(made: dict[str, str], change: dict[str, Any], field: str) -> None:
    assert _refused({"alice": {"ssh_keys": [made["alice"]], **change}}).field == f"admins.alice.{field}"


def test_an_admin_without_keys_is_told_where_to_find_one() -> None:
    error = _refused({"alice": {}})
    assert (error.field, "id_ed25519.pub" in error.hint) == ("admins.alice.ssh_keys", True)


@pytest.mark.parametrize(
    ("text", "field"), [("", "admins"), ("[admins]", "admins"), ("[admin.alice]", "admin"), ("[admins", "")]
)
def test_a_file_without_admins_is_an_error(tmp_path: Path, text: str, field: str) -> None:
    (tmp_path / "admins.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_admins(tmp_path / "admins.toml")
    assert caught.value.field == field


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"admins\.toml: does not exist"):
        load_admins(tmp_path / "admins.toml")
