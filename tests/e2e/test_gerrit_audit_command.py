"""`mainstay gerrit audit`, as an admin calls it, on a manifest and repositories that a real git server has."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from tests.git_server import Forge, forge, git
from tests.unit.test_drill_by_timer import SITE
from tests.waiting import until

MANIFEST = """<manifest>
  <remote name="own" fetch=".."/>
  <remote name="other" fetch="http://127.0.0.1:1/"/>
  <default remote="own" revision="main"/>
  <project name="platform/build"/>
  <project name="device/maker/one" groups="device-one,notdefault"/>
  <project name="from/elsewhere" remote="other"/>
</manifest>
"""
SOURCE = """
[[settings.control.sources]]
manifest = "{}"
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Forge]:
    root = tmp_path / "server"
    root.mkdir()
    with forge(root) as made:
        made.make("platform/manifest", {"default.xml": MANIFEST})
        for name in ("platform/build", "device/maker/one"):
            made.make(name, {"a": "b\n"})
        yield made


def audit(tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")}
    line = [str(REPOSITORY / "bin/mainstay"), "gerrit", "audit", *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def url(server: Forge) -> str:
    return f"{server.url}/platform/manifest"


def test_what_is_whole_is_clean_and_other_servers_are_not_asked(server: Forge, tmp_path: Path) -> None:
    done = audit(tmp_path, "--manifest", url(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert "/platform/manifest: 2 of 3 projects, of own; 2 repositories, 0 files of LFS; " in done.stdout
    assert done.stdout.endswith("clean: 2 projects of 1 manifest\n")


def test_what_is_missing_is_named_with_the_devices_that_it_hits(server: Forge, tmp_path: Path) -> None:
    git(server.folder("device/maker/one"), "update-ref", "-d", "refs/heads/main")
    done = audit(tmp_path, "--manifest", url(server), "--json")
    assert done.returncode == 51
    told = json.loads(done.stdout)
    [found] = told["findings"]
    assert (found["project"], found["kind"], found["devices"]) == ("device/maker/one", "missing revision", ["one"])
    assert found["where"] == "default.xml, line 6"
    without = audit(tmp_path, "--manifest", url(server), "--groups", "default")
    assert without.returncode == 0, without.stdout


def test_a_checkout_knows_where_it_is_from(server: Forge, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", url(server), "checkout")
    done = audit(tmp_path, "--manifest", str(tmp_path / "checkout/default.xml"))
    assert done.returncode == 0, done.stdout + done.stderr
    git(tmp_path / "checkout", "remote", "remove", "origin")
    nowhere = audit(tmp_path, "--manifest", str(tmp_path / "checkout/default.xml"))
    assert nowhere.returncode == 2
    assert "--url" in nowhere.stderr


def test_a_mirror_that_lags_is_told(server: Forge, tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    root.mkdir()
    with forge(root) as mirror:
        done = audit(tmp_path, "--manifest", url(server), "--mirror", mirror.url)
    assert done.returncode == 51
    assert done.stdout.count("mirror missing") == 2


def test_deep_reads_what_is_due_and_remembers_it(server: Forge, tmp_path: Path) -> None:
    [first] = json.loads(audit(tmp_path, "--manifest", url(server), "--deep", "--json").stdout)["manifests"]
    assert first["read"] > 0
    [record] = (tmp_path / "state/mainstay/sources").iterdir()
    assert {one.rpartition("/")[2] for one in json.loads(record.read_text())["readings"]} == {"build", "one"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_read_is_remembered_by_an_audit_that_is_ended(
    server: Forge, tmp_path: Path, number: signal.Signals
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    audit(tmp_path, "--manifest", url(server), "--deep")
    [record] = (tmp_path / "state/mainstay/sources").iterdir()
    record.write_text(json.dumps(json.loads(record.read_text()) | {"last": 1.0}))  # all of it is due
    server.stuck.add("device/maker/one")

    def read() -> set[str]:
        readings = json.loads(record.read_text())["readings"]
        return {name.rpartition("/")[2] for name, one in readings.items() if one["read"]}

    assert read() == {"one"}
    line = [str(REPOSITORY / "bin/mainstay"), "gerrit", "audit", "--manifest", url(server), "--deep"]
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(scratch)}
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE) as running:
        until("the other is read", lambda: read() == {"one", "build"})
        running.send_signal(number)
        assert running.wait(30) != 0
    assert read() == {"one", "build"}
    if number == signal.SIGTERM:
        assert [*scratch.iterdir()] == []
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not [one for one in commands if str(scratch).encode() in one]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--manifest", "/no/such.xml"), "there is no such file"),
        (("--branch", "main"), "are of one"),
        (("--manifest", "http://127.0.0.1:1/manifest", "--status", "/tmp"), "tells of all that the inventory declares"),
        (("--manifest", "http://127.0.0.1:1/manifest"), "cannot be fetched"),
        (("--manifest", "https://me:secret@example.org/manifest"), "holds a name or a password"),
    ],
)
def test_a_manifest_that_cannot_be_had_is_bad_input(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = audit(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_remote_that_is_not_in_it_is_bad_input(server: Forge, tmp_path: Path) -> None:
    done = audit(tmp_path, "--manifest", url(server), "--remote", "aosp")
    assert done.returncode == 2
    assert "it has: other, own" in done.stderr


def test_all_that_an_inventory_declares_is_audited_and_one_that_cannot_be_had_hides_no_other(
    server: Forge, tmp_path: Path
) -> None:
    inventory = tmp_path / "s.toml"
    inventory.write_text(SITE.format(files=tmp_path))
    none = audit(tmp_path, "--inventory", str(inventory))
    assert (none.returncode, "settings.control.sources" in none.stderr) == (2, True)
    declared = "".join(SOURCE.format(f"{server.url}/{name}") for name in ("gone/manifest", "platform/manifest"))
    inventory.write_text(SITE.format(files=tmp_path) + declared)
    outputs = {"--html": tmp_path / "page", "--metrics": tmp_path / "metrics"}
    given = [str(word) for pair in outputs.items() for word in pair]
    done = audit(tmp_path, "--inventory", str(inventory), "--deep", "--json", *given)
    assert done.returncode == 51, done.stderr
    told = json.loads(done.stdout)
    assert [(one["manifest"], one["kind"]) for one in told["findings"]] == [
        (f"{server.url}/gone/manifest", "no manifest")
    ]
    assert [one["projects"] for one in told["manifests"]] == [0, 2]
    assert all(f"{server.url}/platform/manifest" in path.read_text() for path in outputs.values())
    [record] = (tmp_path / "s.sources").iterdir()
    record.write_text("{}")
    broken = audit(tmp_path, "--inventory", str(inventory), "--deep")
    assert (broken.returncode, "is no record of an audit" in broken.stderr) == (2, True)
