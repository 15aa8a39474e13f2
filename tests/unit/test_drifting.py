"""What a host notices of itself since its last deploy, by shots of this machine's files; and that it tells it once."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roles.base import drift
from roles.base.drifting import command, shot
from roles.base.drifting.compare import AT_MOST, LONGEST, STOPPED_S, Finding, differences
from roles.common.on_host import deploying

SECRET = "correct-horse-battery"
LEFT: dict[str, Any] = {
    "files": {},
    "packages": {"nginx": True},
    "services": {"nginx.service": ["enabled", "active", 5.0], "a.timer": ["enabled", "active", 5.0]},
    "users": {"root": [0, 0, "/root", "/bin/bash", []], "www-data": [33, 33, "/var/www", "/usr/sbin/nologin", []]},
    "undeclared": {"files /usr/local/old ": ["files", "/usr/local/old", "nobody declared it", 1.0]},
    "sockets": {"tcp 0.0.0.0:8000": ["old", 1.0]},
    "kernel": {},
    "firewall": {"-tcp dport 8000 accept": True},
}
"""JSON, as it is remembered."""
NOW = 100_000.0


def told(kind: str, **now: Any) -> list[tuple[str, str, str]]:
    """What is told of changes in one part of what was left."""
    found = differences(LEFT, LEFT | {kind: LEFT[kind] | now}, NOW)
    return [(one.kind, one.what, one.why) for one in found]


def test_a_host_as_it_was_left_shows_nothing_and_what_was_there_then_is_not_told() -> None:
    assert differences(LEFT, json.loads(json.dumps(LEFT)), NOW) == []


@pytest.mark.parametrize(
    ("kind", "now", "what", "why"),
    [
        ("packages", {"nginx": False}, "nginx", "is gone"),
        ("services", {"nginx.service": ["masked", "active", 5.0]}, "nginx.service", "masked, and was enabled"),
        ("services", {"nginx.service": ["enabled", "inactive", NOW - STOPPED_S - 1]}, "nginx.service", "does not run"),
        ("services", {"nginx.service": ["enabled", "failed", NOW - STOPPED_S - 1]}, "nginx.service", "has failed"),
        ("users", {"mallory": [1001, 1001, "/home/m", "/bin/bash", []]}, "mallory", "nobody declared it"),
        ("users", {"toor": [0, 0, "/root", "/usr/sbin/nologin", []]}, "toor", "nobody declared it"),
        ("users", {"_new": [990, 990, "/", "/usr/sbin/nologin", ["sudo"]]}, "_new", "nobody declared it"),
        ("users", {"www-data": [33, 33, "/var/www", "/bin/sh", ["sudo"]]}, "www-data", "groups none -> sudo"),
        ("sockets", {"tcp 0.0.0.0:8099": ["nc", 7.0]}, "tcp 0.0.0.0:8099", "nc listens, and no role declares it"),
        ("kernel", {"net.x": ["1", "0", "/etc/sysctl.d/a.conf"]}, "net.x", "is 1, and /etc/sysctl.d/a.conf has 0"),
        ("firewall", {"-tcp dport 1 accept": True}, "rules in force", "there is `tcp dport 1 accept`"),
        ("firewall", {"+tcp dport 1 drop": True}, "rules in force", "there is no `tcp dport 1 drop`"),
    ],
)
def test_what_came_after_the_deploy_is_told_by_its_name(kind: str, now: dict[str, Any], what: str, why: str) -> None:
    ((found_kind, found, how),) = told(kind, **now)
    assert (found_kind, found) == (kind, what)
    assert how.endswith(why)


def test_something_nobody_declared_has_its_own_kind_and_time() -> None:
    new = ["units", "/etc/systemd/system/x.service", "nobody declared it", 9.0]
    found = differences(LEFT, LEFT | {"undeclared": LEFT["undeclared"] | {"units x ": new}}, NOW)
    assert found == [Finding("units", "/etc/systemd/system/x.service", "nobody declared it", 9.0)]


@pytest.mark.parametrize(
    ("kind", "now"),
    [
        ("services", {"nginx.service": ["enabled", "inactive", NOW - 60]}),
        ("services", {"nginx.service": ["enabled", "activating", NOW - 6000]}),
        ("users", {"_apt2": [990, 990, "/", "/usr/sbin/nologin", []]}),
    ],
)
def test_what_a_healthy_host_does_by_itself_is_not_told(kind: str, now: dict[str, Any]) -> None:
    assert told(kind, **now) == []


def test_files_are_told_by_how_they_differ_and_dated_by_their_own_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shot, "ROOT", os.getuid())
    names = ("content", "mode", "gone", "link", "came", "folder", "same")
    paths = {name: tmp_path / name for name in names}
    for name in ("content", "mode", "gone", "link", "same"):
        paths[name].write_text(SECRET)
        paths[name].chmod(0o600)
    paths["folder"].mkdir()

    def files() -> dict[str, Any]:
        taken = {str(path): shot.file(str(path)) for path in paths.values()}
        assert SECRET not in json.dumps(taken)
        found: dict[str, Any] = json.loads(json.dumps(taken))
        return found

    before = files()
    paths["content"].write_text("another")
    paths["mode"].chmod(0o644)
    paths["gone"].unlink()
    paths["link"].unlink()
    paths["link"].symlink_to("/dev/null")
    paths["came"].touch()
    paths["folder"].chmod(0o700)
    found = {Path(one.what).name: one for one in differences(LEFT | {"files": before}, LEFT | {"files": files()}, NOW)}
    assert {name: one.why for name, one in found.items()} == {
        "content": "content",
        "mode": "mode 0600 -> 0644",
        "gone": "is gone",
        "link": "is a link to /dev/null, and was a file",
        "came": "is there again",
    }
    assert abs(found["content"].since - time.time()) < 600


def test_who_owns_a_folder_may_publish_by_a_link_in_it_and_touch_no_declared_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shot, "ROOT", os.getuid() + 1)
    (tmp_path / "public").mkdir()
    (tmp_path / "authorized_keys").touch()
    names = [str(tmp_path / name) for name in ("public", "authorized_keys")]
    before = {name: shot.file(name) for name in names}
    (tmp_path / "public").rmdir()
    (tmp_path / "public").symlink_to("releases/1")
    (tmp_path / "authorized_keys").unlink()
    (tmp_path / "authorized_keys").symlink_to("others")
    found = differences(LEFT | {"files": before}, LEFT | {"files": {name: shot.file(name) for name in names}}, NOW)
    assert [(one.what, one.why) for one in found] == [
        (names[1], "is what the owner of its folder made, and was a file")
    ]


def test_a_thousand_things_are_told_by_the_first_of_them_and_none_at_any_length() -> None:
    many = {str(n): ["files", f"/usr/local/{n}" + "x" * 9999, "nobody declared it", 0] for n in range(1000)}
    found = differences(LEFT, LEFT | {"undeclared": many}, NOW)
    assert (len(found), found[-1].what) == (AT_MOST + 1, f"{1000 - AT_MOST} more")
    assert max(len(one.what) for one in found) <= LONGEST


class Host:
    """This machine as a host: what a shot of it shows, and the deploys that it was told of."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shot: dict[str, Any] = LEFT
        self.ran: list[tuple[str, ...]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.folder = folder
        (folder / "metrics").mkdir()
        for name in ("DEPLOYS", "DECLARED", "REMEMBERED", "STATUS"):
            monkeypatch.setattr(command, name, folder / getattr(command, name).name)
        monkeypatch.setattr(command, "METRICS", folder / "metrics/drift.prom")
        monkeypatch.setattr(command, "MONITORED", folder / "monitored")
        monkeypatch.setattr(command, "AGAIN_S", 0)
        monkeypatch.setattr(command, "take", self.take)
        monkeypatch.setattr(command, "run", lambda *words: self.ran.append(words))
        monkeypatch.setattr(deploying, "DECLARED", command.DECLARED)

    def take(self, declared: dict[str, Any]) -> dict[str, Any]:
        self.meanwhile()
        found: dict[str, Any] = json.loads(json.dumps(self.shot))
        return found

    def event(self, name: str, what: str) -> None:
        with command.DEPLOYS.open("a") as record:
            record.write(json.dumps({"id": name, "event": what, "time": 1}) + "\n")

    def deployed(self, name: str) -> None:
        self.event(name, "started")
        deploying.note({"paths": [], "packages": [], "units": [], "listens": []})
        self.event(name, "finished")
        assert command.main() == 0

    def look(self) -> list[str]:
        """The names of what it found, by its status."""
        self.ran.clear()
        assert command.main() == 0
        return [one["what"] for one in json.loads(command.STATUS.read_text())["findings"]]

    def by_hand(self) -> None:
        self.shot = LEFT | {"packages": {"nginx": False}}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_what_differs_is_told_once_until_a_deploy_makes_it_silent(host: Host) -> None:
    host.deployed("a")
    assert (host.look(), host.ran) == ([], [])
    assert 'mainstay_drift_findings{kind="packages"} 0\n' in command.METRICS.read_text()
    host.by_hand()
    assert host.look() == ["nginx"]
    assert host.ran[-1][-1] == command.MAIL
    assert 'mainstay_drift_findings{kind="packages"} 1\n' in command.METRICS.read_text()
    assert (host.look(), host.ran) == (["nginx"], [])
    host.deployed("b")
    assert host.look() == []
    assert [oct(path.stat().st_mode)[-3:] for path in (command.REMEMBERED, command.STATUS)] == ["600", "640"]


def test_where_a_monitor_host_tells_of_the_metric_nothing_is_mailed(host: Host) -> None:
    (host.folder / "monitored").touch()
    host.deployed("a")
    host.by_hand()
    assert (host.look(), host.ran) == (["nginx"], [])


@pytest.mark.parametrize("event", ["started", "failed", "stopped", "broken", "rebooting"])
def test_while_a_deploy_has_not_come_to_its_end_nothing_is_compared(host: Host, event: str) -> None:
    host.deployed("a")
    before = command.STATUS.read_text()
    host.event("b", event)
    host.by_hand()
    host.look()
    assert command.STATUS.read_text() == before
    host.deployed("c")
    assert host.look() == []


def test_a_deploy_that_begins_during_a_look_makes_that_look_no_ones(host: Host) -> None:
    host.deployed("a")
    host.by_hand()

    def once() -> None:
        host.meanwhile = lambda: None
        host.event("b", "started")
        host.event("b", "finished")

    host.meanwhile = once
    assert host.look() == []
    assert json.loads(command.REMEMBERED.read_text())["deploy"] == "b"


def test_what_goes_away_by_itself_is_not_told(host: Host) -> None:
    host.deployed("a")
    host.by_hand()
    looks: list[int] = []

    def mends() -> None:
        looks.append(1)
        host.shot = LEFT if len(looks) > 1 else host.shot

    host.meanwhile = mends
    assert (host.look(), host.ran) == ([], [])


def test_a_look_that_fails_says_why_and_leaves_what_was_told(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.deployed("a")
    before = command.STATUS.read_text()

    def fails() -> None:
        raise OSError("no space left")

    host.meanwhile = fails
    assert command.main() == 1
    assert "no space left" in capsys.readouterr().err
    assert command.STATUS.read_text() == before


def test_a_deploy_of_one_role_takes_nothing_from_what_others_declared(host: Host) -> None:
    deploying.note({"paths": ["/a"], "packages": ["x"], "units": [], "listens": ["tcp :::1"]})
    deploying.note({"paths": ["/b"], "packages": ["x"], "units": ["u"], "listens": []})
    noted = json.loads(command.DECLARED.read_text())
    assert sorted(noted.pop("paths")) == ["/a", "/b"]
    assert noted == {"packages": ["x"], "units": ["u"], "listens": []}


def test_a_socket_of_its_own_on_loopback_is_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [["tcp", address, port, "x", 1.0] for address in ("127.0.0.1", "::1", "::") for port in (22, 8000, 40000)]
    monkeypatch.setattr("roles.common.on_host.look.sockets", lambda: found)
    told_ = shot.sockets({"tcp :::22"})
    assert {*told_} == {
        *("tcp 127.0.0.1:22", "tcp ::1:22", "tcp 127.0.0.1:8000", "tcp ::1:8000", "tcp :::8000", "tcp :::40000"),
    }


def test_the_program_is_the_same_bytes_each_time_and_starts_by_itself(tmp_path: Path) -> None:
    (tmp_path / "drift.pyz").write_bytes(drift.program())
    assert drift.program() == (tmp_path / "drift.pyz").read_bytes()
    start = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_module('roles.base.drifting.command')"
    subprocess.run([sys.executable, "-I", "-c", start, tmp_path / "drift.pyz"], check=True)
