"""`mainstay release audit` over https, against git repositories, as an admin runs it."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import html5lib
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.release import auditing
from inventories import trusted
from lab.release_archive import CHANNELS, COMMIT, CURRENT, DEVICES, UNRECORDED, archive
from roles.common.publishing.servers import Place
from roles.release.tools.audit import site
from roles.release.tools.audit.audit import Target
from tests.audited import Audited, audited

FULL = f"ota/{DEVICES[0]}/16/{DEVICES[0]}-ota_update-{CURRENT}.zip"
MISSED = ("404", "nothing on the disk")
"""nginx has what it served open for some seconds more."""
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")


@dataclass(frozen=True)
class Stage:
    """A site whose servers are both on this machine."""

    both: Audited
    inventory: Path

    def run(self, *words: str | Path) -> Result:
        given = ["release", "audit", "--inventory", str(self.inventory), *map(str, words)]
        return CliRunner(env={"COLUMNS": "150"}).invoke(app, given)

    def json(self, *words: str | Path) -> tuple[int, dict[str, object]]:
        done = self.run("--json", *words)
        assert done.exit_code in (0, 3, 51), repr(done.exception)
        return done.exit_code, json.loads(done.stdout)


def committed(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    for words in (("init", "-q"), ("add", "--all"), ("commit", "-qm", "All of it")):
        subprocess.run([*GIT, "-C", folder, *words], check=True)
    subprocess.run([*GIT, "clone", "-q", "--bare", folder, f"{folder}.git"], check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("site")
    whole = archive()
    committed(folder / "metadata", dict(whole.metadata))
    committed(folder / "checksums", dict(whole.checksums))
    with audited(whole, folder) as both:
        yield Stage(both, both.inventory)


@pytest.fixture
def stage(made: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Ports are those of this machine, and disks are reached without ssh."""
    real = site.targets

    def targets(*given: object) -> list[Target]:
        found: Callable[..., list[Target]] = real
        return [
            Target(
                replace(one.asked, port=made.both.ports[one.name], address="127.0.0.1"),
                Place(one.name, str(made.both.volumes[one.name]), lambda *words: words),
            )
            for one in found(*given)
        ]

    monkeypatch.setattr(auditing, "targets", targets)
    return made


@pytest.fixture
def damaged(stage: Stage) -> Iterator[Stage]:
    place = stage.both.volumes["release-2"] / "public" / FULL
    place.rename(place.with_name("away"))
    yield stage
    place.with_name("away").rename(place)


def test_a_clean_site_ends_with_0_and_a_table(stage: Stage) -> None:
    done = stage.run()
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["device", *CHANNELS, "factory", "oldstable", "other"]
    assert lines[1].split() == [DEVICES[0], *["ok"] * 6]
    assert lines[-1].startswith("clean: 168 channels on 2 servers, ")
    assert [line for line in lines if line.startswith("release-1: answers; serves commit c0ffee0000; ")]
    assert sum("unlisted" in line for line in lines) == 2 * len(UNRECORDED)
    assert "problems" not in done.stdout


def test_damage_ends_with_51_and_is_in_every_form(
    damaged: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html, metrics = tmp_path / "release.html", tmp_path / "audit.prom"
    monkeypatch.setattr(auditing, "AGAIN_S", 0)
    code, told = damaged.json("--status", tmp_path, "--metrics", metrics)
    assert json.loads((tmp_path / "release.json").read_text())["findings"] == told["findings"]
    assert (code, told["exit_code"], told["clean"]) == (51, 51, False)
    assert isinstance(told["findings"], list)
    [finding] = [one for one in told["findings"] if one["fails"] and one["kind"] == "metadata ahead"]
    assert (finding["server"], finding["device"], finding["path"]) == ("release-2", DEVICES[0], FULL)
    assert finding["found"] in MISSED
    done = damaged.run()
    assert done.exit_code == 51
    about = f"  release-2: {DEVICES[0]} beta, security-express, stable, testing: {FULL}: metadata ahead: found "
    assert any(f"{about}{one}; " in done.stdout for one in MISSED)
    page = html.read_text()
    parsed = html5lib.HTMLParser(strict=True).parse(page)
    assert parsed is not None
    assert FULL in page
    assert not re.search(r"<script|src=|url\(|@import|<link", page)
    samples = metrics.read_text()
    ahead = 'server="release-2",finding="metadata ahead",severity="critical"'
    assert f"mainstay_release_audit_findings{{{ahead}}} 1\n" in samples
    assert f"mainstay_release_audit_findings{{{ahead.replace('-2', '-1')}}} 0\n" in samples
    assert 'mainstay_release_audit_answers{server="release-2"} 1\n' in samples


def test_devices_and_servers_can_be_chosen(damaged: Stage) -> None:
    assert damaged.json("--server", "release-1")[0] == 0
    assert damaged.json("--device", DEVICES[1])[0] == 0
    code, told = damaged.json("--device", DEVICES[0])
    assert code == 51
    assert isinstance(told["devices"], list)
    assert [one["device"] for one in told["devices"]] == [DEVICES[0]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--server", "web-1"), "no release server 'web-1'\n  of these there are: release-1, release-2"),
        (("--device", "nobody"), "no device 'nobody' in metadata"),
        (("--status", ".", "--server", "release-1"), "tells of all servers"),
    ],
)
def test_bad_input_is_told(stage: Stage, words: tuple[str, ...], told: str) -> None:
    done = stage.run(*words)
    assert told in str(done.exception)


def test_a_repository_that_cannot_be_read_is_told(stage: Stage, tmp_path: Path) -> None:
    inventory = tmp_path / "s.toml"
    inventory.write_text(stage.inventory.read_text().replace("metadata.git", "none.git"))
    done = replace(stage, inventory=inventory).run()
    assert done.exit_code == 1
    assert "none.git" in done.stderr


def test_a_server_that_does_not_answer_ends_with_3_and_the_rest_is_judged(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stage.both.ports, "release-2", 1)
    code, told = stage.json()
    assert code == 3
    assert isinstance(told["findings"], list)
    assert [(one["server"], one["kind"]) for one in told["findings"] if one["fails"]] == [("release-2", "unreachable")]
    assert isinstance(told["servers"], list)
    assert [one["answers"] for one in told["servers"]] == [True, False]
    assert [one["commit"] for one in told["servers"]] == [COMMIT] * 2


def test_a_certificate_that_nobody_vouches_for_is_no_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted, "ROOTS", "none.pem")
    code, told = stage.json("--server", "release-1")
    assert code == 3
    assert isinstance(told["findings"], list)
    assert "certificate of 127.0.0.1: self-signed certificate" in told["findings"][0]["found"]


def test_a_server_that_does_not_know_the_name_is_no_answer(stage: Stage, tmp_path: Path) -> None:
    inventory = tmp_path / "s.toml"
    text = stage.inventory.read_text().replace('["release.example.org"]', '["other.example.org"]')
    inventory.write_text(text)
    code, told = replace(stage, inventory=inventory).json("--server", "release-1")
    assert code == 3
    assert isinstance(told["findings"], list)
    assert "unrecognized name" in told["findings"][0]["found"]


def test_deep_reads_a_part_and_keeps_what_was_read(stage: Stage) -> None:
    kept = stage.inventory.parent / "site/s.audit.json"
    kept.unlink(missing_ok=True)
    code, told = stage.json("--deep")
    assert code == 0
    assert isinstance(told["servers"], list)
    shares = [one["read_ratio"] for one in told["servers"]]
    assert all(0.04 < share < 0.2 for share in shares)
    assert [one["read_ratio"] for one in stage.json()[1]["servers"]] == shares  # type: ignore[attr-defined]
    assert stage.json("--deep")[0] == 0
    again = json.loads(kept.read_text())["servers"]["release-1"]
    assert sum(bool(one["read"]) for one in again.values()) > 2
    assert "read within 30 days" in stage.run().stdout
