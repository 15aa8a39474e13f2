"""What `mainstay drift` makes of a host's answers, by real looks at this machine's files; and of silence."""

import getpass
import grp
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from backup.reach import Unreachable
from cli.main import app
from drift import look, planned, provider
from drift.beside import AT_MOST, beside, firewall, sockets
from drift.findings import PROVIDER, UNSEEN, Drift, Finding
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from inventories.lock import Lock, LockedHost, save
from roles.base import deploying
from roles.common import Listen
from roles.common.on_host import look as on_host
from tests.unit import cloud_site
from tests.unit.test_provision_login import _key as key
from tests.unit.test_provision_login import _public as public

HOST = '[hosts.{}]\nrole = "base"\nplan = "p"\nregion = "ams"\n'
DEPLOY = """
from pyinfra.api.deploy import deploy
from roles.base.deploying import deploying
from roles.common import tree

@deploy("shop")
def shop():
    tree("files", generated={generated}, owners={owners}, secret=("*/secret",))

with deploying():
    shop()
"""
SECRET = "correct-horse-battery"
NOTHING: dict[str, Any] = {
    "undeclared": [],
    "sockets": [],
    "kernel": [],
    "firewall": [],
    "changed": {},
    "units": {},
    "gone": {},
}
Answer = Callable[[str, Mapping[str, Any]], Any]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedSite:
    """Of three hosts, of which one is not provisioned."""
    monkeypatch.setenv("MAINSTAY_ADMIN", "alice")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "site"
    folder.mkdir()
    line = public(key(tmp_path / "alice"))
    (folder / "admins.toml").write_text(f'[admins.alice]\nssh_keys = ["{line}"]\n')
    hosts = {name: LockedHost(instance_id=name, ipv4="192.0.2.1", host_keys=(line,)) for name in ("a-1", "b-1")}
    save(folder / "lock.json", Lock(hosts=hosts))
    declared = "".join(HOST.format(name) for name in ("a-1", "b-1", "c-1"))
    (tmp_path / "site.toml").write_text('[site]\nname = "site"\ndomain = "example.org"\n' + declared)
    return load_site(tmp_path / "site.toml")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the deploy of each host declares it, which no look takes for a deploy that begins."""
    folder = tmp_path / "host"
    folder.mkdir()
    contents = {str(folder / "plain"): "one\ntwo\n", str(folder / "secret"): f"password = {SECRET}\n"}
    for path, content in contents.items():
        Path(path).write_text(content)
        Path(path).chmod(0o644)
    owner = f"{getpass.getuser()}:{grp.getgrgid(os.getgid()).gr_name}"
    deploy = tmp_path / "deploy.py"
    deploy.write_text(DEPLOY.format(generated=contents, owners={f"{folder}/*": owner}))
    monkeypatch.setattr(planned, "DEPLOY", deploy)
    monkeypatch.setattr(deploying, "opened", pytest.fail)
    return folder


def here(host: str, orders: Mapping[str, Any]) -> Any:
    """This machine, as each host."""
    said = {"looks": [on_host.looked(*one) for one in orders["looks"]]}
    if "declared" not in orders:
        return said
    stats = {path: os.lstat(path) for path in orders["declared"]["paths"] if os.path.lexists(path)}
    times = {path: [stat.st_mtime, stat.st_ctime] for path, stat in stats.items()}
    return said | NOTHING | {"changed": times}


def found(site: LoadedSite, ask: Answer = here, *names: str) -> list[Finding]:
    return [*look.hosts(site, names or ("a-1",), ask)]


def test_a_host_as_it_is_declared_shows_nothing(site: LoadedSite, files: Path) -> None:
    assert found(site, here, "a-1", "b-1") == []
    assert Drift(("a-1",)).exit_code == 0


def test_a_file_changed_by_hand_is_told_by_its_line_its_time_and_its_deploy(site: LoadedSite, files: Path) -> None:
    (files / "plain").write_text("one\nby hand\ntwo\n")
    os.utime(files / "plain", (1e9, 1e9))
    (one,) = found(site)
    assert (one.host, one.kind, one.what, one.why) == ("a-1", "files", str(files / "plain"), "content")
    assert (one.since, one.declared) == (1e9, "shop | files")
    assert "-by hand" in one.lines
    assert one.as_json()["since"] == "2001-09-09 01:46:40"


def test_rights_changed_by_hand_are_told_with_the_time_of_that_change(site: LoadedSite, files: Path) -> None:
    os.utime(files / "plain", (1e9, 1e9))
    (files / "plain").chmod(0o666)
    (one,) = found(site)
    assert one.why == "mode 0666 -> 0644"
    assert one.since > 1e9


def test_of_a_secret_file_is_told_that_it_differs_and_nothing_of_it_is_asked_for(site: LoadedSite, files: Path) -> None:
    (files / "secret").write_text("password = another\n")
    asked: list[Mapping[str, Any]] = []

    def ask(host: str, orders: Mapping[str, Any]) -> Any:
        asked.append(orders)
        return here(host, orders)

    (one,) = found(site, ask)
    assert (one.what, one.why, one.lines) == (str(files / "secret"), "content", ())
    assert len(asked) == 1
    assert SECRET not in json.dumps(asked)
    assert "another" not in json.dumps(one.as_json())


def test_hosts_that_cannot_be_asked_are_told_and_the_others_are_looked_at(site: LoadedSite, files: Path) -> None:
    (files / "plain").unlink()

    def ask(host: str, orders: Mapping[str, Any]) -> Any:
        if host == "a-1":
            raise Unreachable("a-1: Connection refused")
        return here(host, orders)

    unreachable, missing, unknown = found(site, ask, "a-1", "b-1", "c-1")
    assert (unreachable.kind, unreachable.why) == (UNSEEN, "Connection refused")
    assert (missing.host, missing.why, missing.lines) == ("b-1", "new file", ())
    assert (unknown.kind, unknown.why) == (UNSEEN, "not provisioned yet")
    assert Drift((), (missing,)).exit_code == 52
    assert Drift((), (missing, unreachable)).exit_code == 3


def test_a_host_that_goes_away_before_its_lines_come_differs_all_the_same(site: LoadedSite, files: Path) -> None:
    (files / "plain").write_text("by hand\n")

    def ask(host: str, orders: Mapping[str, Any]) -> Any:
        if "declared" not in orders:
            raise Unreachable("gone")
        return here(host, orders)

    (one,) = found(site, ask)
    assert (one.why, one.lines) == ("content", ())


def test_a_look_that_says_nothing_is_not_taken_for_a_host_without_differences(site: LoadedSite, files: Path) -> None:
    def ask(host: str, orders: Mapping[str, Any]) -> Any:
        return {"looks": ["" for _ in orders["looks"]]} | NOTHING

    (one,) = found(site, ask)
    assert (one.kind, one.why) == (UNSEEN, "TreeLook says nothing")


def test_what_lies_where_a_file_goes_is_told_in_the_words_of_the_deploy(site: LoadedSite, files: Path) -> None:
    (files / "plain").unlink()
    (files / "plain").mkdir()
    (one,) = found(site)
    assert (one.kind, one.what) == ("files", str(files / "plain"))
    assert "move it away by hand" in one.why


def test_only_hosts_of_the_inventory_can_be_named(site: LoadedSite) -> None:
    with pytest.raises(InputError, match="no host 'd-1'"):
        look.look(site, ["d-1"])


LISTENS = (Listen(protocol="tcp", port=22), Listen(protocol="udp", port=53, address="127.0.0.53"))


@pytest.mark.parametrize(
    ("socket", "told"),
    [
        (("tcp", "0.0.0.0", 22), ""),
        (("tcp", "::", 22), ""),
        (("udp", "127.0.0.53", 53), ""),
        (("udp", "0.0.0.0", 53), "udp 0.0.0.0:53"),
        (("udp", "0.0.0.0", 22), "udp 0.0.0.0:22"),
    ],
)
def test_a_socket_is_told_unless_a_role_declares_its_address_and_port(socket: tuple[str, str, int], told: str) -> None:
    findings = sockets("a-1", LISTENS, [(*socket, "nc", 5.0), (*socket, "nc", 5.0)])
    assert [(one.what, one.since) for one in findings] == ([(told, 5.0)] if told else [])


def test_addresses_are_told_without_brackets_and_interface() -> None:
    shown = ("127.0.0.53%lo", "[fe80::1]%eth0", "[::]", "[::ffff:127.0.0.1]", "*")
    assert [on_host.plain(one) for one in shown] == ["127.0.0.53", "fe80::1", "::", "127.0.0.1", "*"]


def test_of_firewall_rules_the_lines_that_differ_are_shown() -> None:
    one = firewall("a-1", "table\n\tdrop\n\taccept\n", "table\n\tdrop\n")
    assert "-  accept" in one.lines
    assert not [line for line in one.lines if line.startswith(("---", "+++"))]


def test_a_thousand_undeclared_files_are_told_by_the_first_of_them() -> None:
    said = NOTHING | {"undeclared": [["files", f"/usr/local/{n}", "nobody declared it", 0] for n in range(1000)]}
    findings = [*beside("a-1", (), said)]
    assert len(findings) == AT_MOST + 1
    assert findings[-1].what == f"{1000 - AT_MOST} more"


def test_words_of_a_host_cannot_steer_a_terminal() -> None:
    told = Finding("a-1", "files", "/etc/\x1b[2J", "nobody declared it", lines=("-\x1b[2J",)).as_json()
    assert "\x1b" not in told["what"] + told["lines"][0]


def test_what_the_image_brought_is_not_told_and_what_came_later_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("etc", "lib"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(on_host, "RECORD", tmp_path / "image.json")
    monkeypatch.setattr(on_host, "WATCHED", (str(tmp_path / "etc"),))
    monkeypatch.setattr(on_host, "UNITS", (f"{tmp_path}/etc/systemd",))
    monkeypatch.setattr(on_host, "BROUGHT", (f"{tmp_path}/lib/",))
    monkeypatch.setattr(on_host, "undeclared", lambda declared: on_host.files(set(declared["paths"])))
    units = tmp_path / "etc/systemd"
    (units / "multi-user.target.wants").mkdir(parents=True)
    (tmp_path / "etc/by-image").touch()
    (tmp_path / "etc/declared.dpkg-dist").touch()
    assert on_host.later({"paths": []}) == []
    on_host.remember()
    (tmp_path / "etc/by-hand").touch()
    (tmp_path / "etc/declared").touch()
    (units / "masked.service").symlink_to("/dev/null")
    (units / "multi-user.target.wants/on.service").symlink_to(tmp_path / "lib/on.service")
    (units / "own.service").symlink_to("/opt/own.service")
    came = on_host.later({"paths": [f"{tmp_path}/etc/declared"]})
    assert sorted(one[:3] for one in came) == [
        ("files", f"{tmp_path}/etc/by-hand", "nobody declared it"),
        ("units", f"{units}/masked.service", "masked by hand"),
        ("units", f"{units}/own.service", "a link to /opt/own.service that nobody declared"),
    ]


def test_the_plan_of_provisioning_is_told_line_by_line(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = cloud_site.actual(firewalls=(), records=())
    declared = LoadedSite(site.path, cloud_site.fleet())
    monkeypatch.setattr(provider, "client", lambda site, report: None)
    monkeypatch.setattr("cloud.actual.read", lambda *_: seen)
    monkeypatch.setattr(LoadedSite, "lock", property(lambda _: cloud_site.lock()))
    told = {(one.host, one.what): one.why for one in provider.differences(declared)}
    assert told[PROVIDER, "firewall/front"]
    assert told["web-1", "host/web-1"] == "is not as declared: firewall"
    assert "is not there" in told[PROVIDER, "record/www"]


def test_a_provider_that_cannot_be_asked_is_told(site: LoadedSite) -> None:
    (one,) = provider.differences(site)
    assert (one.host, one.kind) == (PROVIDER, UNSEEN)
    assert "vultr_api_key" in one.why


def test_the_command_ends_with_52_and_prints_what_differs(
    site: LoadedSite, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "plain").write_text("one\nby hand\ntwo\n")
    monkeypatch.setattr(look, "ask", lambda way, host, orders: here(host, orders))
    words = ["drift", "--inventory", str(site.path), "a-1"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 52, told.output
    assert f"{files}/plain: content (since " in told.output
    assert "-by hand" in told.output
    for_programs = CliRunner().invoke(app, [*words, "--json"])
    (one,) = json.loads(for_programs.stdout)["findings"]
    assert (one["host"], one["what"]) == ("a-1", str(files / "plain"))
    (files / "plain").write_text("one\ntwo\n")
    assert CliRunner().invoke(app, words).exit_code == 0


def test_a_program_is_dated_by_its_start() -> None:
    with subprocess.Popen(["sleep", "60"]) as running:
        assert abs(on_host.started(running.pid) - time.time()) < 60
        running.kill()
    assert 0 < on_host.started(1) <= time.time()


def test_what_a_host_says_to_the_orders_is_read_by_the_program_that_goes_there() -> None:
    """The program as it is sent, run here by the words that run it there."""
    from roles.common.program import ALONE, packed, source, start

    given = source("look") + packed({"looks": [("cat; echo $((1 + 1))", "one\n"), ("exit 3", "")]})
    done = subprocess.run([*ALONE, start("look")], input=given, capture_output=True, check=True)
    assert json.loads(done.stdout) == {"looks": ["one\n2\n", ""]}
