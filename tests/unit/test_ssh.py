"""`mainstay ssh`: which hosts it enters, and that the command and its exit code pass through as they are."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from cli import ssh as command
from inventories import keys
from inventories.errors import InputError
from inventories.inventory import load_site
from inventories.lock import Lock, LockedHost, save
from inventories.ssh import configured
from lab import rehearse
from tests.unit.test_inventory import KEY, LOCKED, lab_config, write

__all__ = ["lab_config", "write"]


@pytest.fixture
def inventory(write: Callable[..., Path]) -> Path:
    made = write()
    save(load_site(made).lock_path, Lock(hosts={"web-1": LOCKED}))
    return made


@pytest.mark.parametrize(
    ("host", "problem"),
    [("release-1", "is declared and not provisioned yet"), ("web-3", "no such host\n  there are: web-1")],
)
def test_a_host_that_is_not_there_is_told(inventory: Path, host: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        command.ssh(host, inventory=inventory)


def test_words_and_exit_code_pass_through(inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "ssh"
    fake.write_text('#!/bin/sh\ncat "$2" >"$0.config"\nshift 2\nprintf "%s|" "$@" >"$0.words"\nexit 7\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(typer.Exit) as ended:
        command.ssh("web-1", ["sudo", "ls", "-l", "a b"], inventory)
    assert ended.value.exit_code == 7
    assert (tmp_path / "ssh.words").read_text() == "web-1|sudo|ls|-l|a b|"
    config = (tmp_path / "ssh.config").read_text()
    assert f"HostName {LOCKED.ipv4}" in config
    assert "StrictHostKeyChecking yes" in config


def test_a_host_that_no_provider_made_is_pinned_by_what_its_console_says(
    inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.pin("release-1", "192.0.2.10", f"{KEY} root@host", inventory)
    assert load_site(inventory).lock.hosts["release-1"] == LockedHost(
        instance_id="", ipv4="192.0.2.10", host_keys=(KEY,)
    )
    assert keys.parse(KEY).fingerprint in capsys.readouterr().out
    assert load_site(inventory).lock.hosts["web-1"] == LOCKED


@pytest.mark.parametrize(
    ("host", "address", "key", "problem"),
    [
        ("web-1", "192.0.2.10", KEY, "hosts.web-1: a provider made it"),
        ("web-3", "192.0.2.10", KEY, "no such host"),
        ("release-1", "192.0.2", KEY, "192.0.2"),
        ("release-1", "192.0.2.10", KEY[:-8], "cut off or damaged"),
    ],
)
def test_nothing_else_is_pinned(inventory: Path, host: str, address: str, key: str, problem: str) -> None:
    before = load_site(inventory).lock
    with pytest.raises(InputError, match=problem):
        command.pin(host, address, key, inventory)
    assert load_site(inventory).lock == before


def test_a_connection_to_a_host_that_died_is_given_up_after_a_minute(inventory: Path) -> None:
    with configured(load_site(inventory)) as config:
        told = subprocess.run(["ssh", "-G", "-F", config, "web-1"], capture_output=True, text=True, check=True).stdout
    settings = dict(line.split(" ", 1) for line in told.splitlines())
    assert int(settings["serveraliveinterval"]) * int(settings["serveralivecountmax"]) == 60


def test_a_rehearsal_ends_with_the_ways_into_hosts_and_to_the_backups(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rehearse, "INVENTORY", inventory)
    monkeypatch.setenv("MAINSTAY_RESTIC", "/var/lib/mainstay/tools/restic")
    rehearse.doors()
    said = capsys.readouterr().err
    assert "bin/mainstay lab ssh web-1" in said
    assert "export MAINSTAY_RESTIC=/var/lib/mainstay/tools/restic\n" in said
