"""What can be set for the signing host, and what it installs."""

import pytest
from pydantic import ValidationError

from roles.signing import kernel, software
from roles.signing.settings import Settings

HSMS = ["0007550001", "0007550002"]


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"hsms": []},
        {"hsms": ["755000"]},
        {"hsms": [*HSMS, "0007550003"]},
        {"hsms": HSMS, "keyboards": ["046D:C31C"]},
        {"hsms": HSMS, "keyboards": ["*:*"]},
        {"hsms": HSMS, "media": ["0951:1666"]},
        {"hsms": HSMS, "media": ['0951:1666 a" with-interface one-of { *:*:* }']},
        {"hsms": HSMS, "destinations": [{"user": "signing-logs", "address": "logs.example.org", "port": 443}]},
        {"hsms": HSMS, "destinations": [{"user": 'x" accept; "', "address": "192.0.2.1", "port": 443}]},
    ],
)
def test_bad_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(bad)


REMOTE = {
    "url": "ssh://git@192.0.2.11:2222/srv/hsm-log.git",
    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2nLBv3NnXkFz1j3r8mS9m8QvT0yJmYw7b3u1r5c9dZ root@logs",
}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("ssh://git@192.0.2.11:2222/srv/hsm-log.git", "[192.0.2.11]:2222"),
        ("ssh://git@192.0.2.11/hsm-log.git", "192.0.2.11"),
        ("ssh://git@[2001:db8::1]:22/hsm-log.git", "[2001:db8::1]:22"),
    ],
)
def test_the_server_of_the_log_is_believed_by_its_declared_key(url: str, name: str) -> None:
    settings = Settings.model_validate({"hsms": HSMS, "logs": REMOTE | {"url": url}})
    assert settings.logs is not None
    assert settings.logs.known_hosts == f"{name} {REMOTE['host_key'].removesuffix(' root@logs')}\n"


@pytest.mark.parametrize(
    "url", ["https://logs.example.org/x", "ssh://logs.example.org/x", "ssh://git@-oProxy=x/y", "x"]
)
def test_a_log_goes_by_ssh_alone(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"hsms": HSMS, "logs": REMOTE | {"url": url}})


def test_each_device_has_a_connector_of_its_own() -> None:
    assert Settings.model_validate({"hsms": HSMS}).ports == {HSMS[0]: 12345, HSMS[1]: 12346}


def test_a_destination_is_one_accounts() -> None:
    declared = [{"user": "signing-logs", "address": address, "port": 443} for address in ("192.0.2.1", "2001:db8::1")]
    assert [one.rule for one in Settings.model_validate({"hsms": HSMS, "destinations": declared}).destinations] == [
        'ip daddr 192.0.2.1 tcp dport 443 meta skuid "signing-logs" accept',
        'ip6 daddr 2001:db8::1 tcp dport 443 meta skuid "signing-logs" accept',
    ]


def test_what_is_to_be_installed_is_what_was_reviewed() -> None:
    age = software.PINNED["age"]
    assert software.refusals([]) == [], "all is there already"
    assert software.refusals(["age", f"age {age.version} {age.sha256}"]) == []
    [other] = software.refusals(["age", f"age 9.9 {age.sha256}"])
    assert other.startswith(f"age: the archive has 9.9, pinned is {age.version}")
    [bytes_] = software.refusals(["age", f"age {age.version} {'0' * 64}"])
    assert "SHA-256" in bytes_
    [missing] = software.refusals(["age"])
    assert "the archive has none" in missing


def test_a_module_is_not_both_needed_and_denied() -> None:
    for media in (False, True):
        needed = {name.replace("-", "_") for name in kernel.loaded(media)}
        assert not needed & {name.replace("-", "_") for name in kernel.denied(media)}


def test_storage_is_denied_unless_a_medium_is_declared() -> None:
    assert "install usb-storage /bin/false\n" in kernel.modprobe(media=False)
    assert "install usb-storage" not in kernel.modprobe(media=True)
    assert "install uas /bin/false\n" in kernel.modprobe(media=True)
    assert "usb-storage" in kernel.loaded(media=True)
