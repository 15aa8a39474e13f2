"""`mainstay release check`: what it prints, and how it ends."""

import json
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from cli.main import main
from cli.release import app
from cloud.converge import REPOSITORY
from tests.unit.releases import FULL, NEW, OLD, Release, good

__all__ = ["good"]

SITE = """
[site]
name = "s"
domain = "example.org"
files = "{files}"
[hosts]
release-1 = {{ role = "release", plan = "p", region = "ams" }}
"""


def given(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["check", *map(str, words)])


def test_a_good_release_is_told_by_device_and_ends_with_0(good: Release) -> None:
    done = given(good.folder, "--certificates", good.certificates, "--against", good.folder)
    assert done.exit_code == 0
    [row] = [line for line in done.stdout.splitlines() if line.startswith("panther")]
    assert row.split() == ["panther", NEW.number, OLD.number, NEW.number, "86.8", "KiB", "2026-08-05", "7", "ok"]
    assert done.stdout.splitlines()[-1].startswith("publishable: 10 packages, ")
    assert "problems" not in done.stdout


def test_a_bad_one_is_told_line_by_line_and_ends_with_50(good: Release, tmp_path: Path) -> None:
    one = good.copy(tmp_path)
    one.write(f"{FULL}.sha256sum", "\x1b[31mgood\n")
    (one.folder / "ota/panther/panther-factory").unlink()
    done = given(one.folder, "--certificates", one.certificates)
    assert done.exit_code == 50
    [row] = [line for line in done.stdout.splitlines() if line.startswith("panther")]
    assert row.split()[-4:] == ["6,", "factory*", "1", "problem"]
    assert (
        rf"  {FULL}.sha256sum: checksum: found what is neither HASH  NAME nor a bare hash: '\x1b[31mgood" in done.stdout
    )
    assert "* no line in the release: taken from the package" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("not publishable: 1 problem in 3 packages")
    assert "\x1b" not in done.stdout


def test_certificates_are_the_sites_by_default(good: Release, tmp_path: Path) -> None:
    inventory = tmp_path / "s.toml"
    inventory.write_text(SITE.format(files=good.keys))
    done = given(good.folder, "--inventory", inventory, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["publishable"], found["exit_code"], found["problems"]) == (True, 0, [])
    assert found["size"] == sum(path.stat().st_size for path in good.folder.rglob("*.zip"))
    [full] = [one for one in found["packages"] if one["path"] == FULL]
    assert (full["kind"], full["timestamp"]) == ("full", NEW.timestamp)
    [line] = [one for one in found["channels"] if one["path"] == "ota/panther/panther-stable"]
    assert (line["build"], line["timestamp"], line["android"]) == (NEW.number, NEW.timestamp, "16")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("x", "--certificates", "tests"), "x: is no folder\n  name that of a release", id="no release"),
        pytest.param(("tests", "--certificates", "x"), "x: is no folder\n  put DEVICE.x509.pem", id="no certificates"),
        pytest.param(
            ("tests", "--certificates", "tests", "--against", "docs"), "docs: holds no DEVICE/", id="no metadata"
        ),
        pytest.param(("tests",), "--inventory: which site?", id="no site"),
        pytest.param((), "Missing argument", id="nothing"),
    ],
)
def test_bad_usage_ends_with_2(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.delenv("MAINSTAY_INVENTORY", raising=False)
    monkeypatch.setattr(sys, "argv", ["mainstay", "release", "check", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_its_help_names_every_exit_code() -> None:
    assert "50, not publishable" in str(get_command(app).epilog)
