"""What the control host runs by timer: drills of all, each twice, and units that failed without a report."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backup.data_set import Kind
from backup.drills import by_timer
from cli.drill import app, running
from cloud.converge import REPOSITORY
from inventories.inventory import LoadedSite, load_site
from tests.waiting import until

SITE = """
[site]
name = "s"
domain = "example.org"
files = "{files}"
[hosts]
release-1 = {{ role = "release", plan = "p", region = "ams" }}
web-1 = {{ role = "web", plan = "p", region = "ams" }}
control-1 = {{ role = "control", plan = "p", region = "ams", volumes.state = {{ size_gb = 10, mount = "/srv/c" }} }}
vault-1 = {{ role = "vault", plan = "p", region = "ams", dns = ["v.example.org"] }}
[drill]
domain = "drill.example.org"
"""
CODES = {"release-1:release": 43, "web-1:web": 0, "control-1:control": 0}


@pytest.fixture
def site(tmp_path: Path) -> LoadedSite:
    path = tmp_path / "s.toml"
    path.write_text(SITE.format(files=tmp_path))
    return load_site(path)


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each drill that was begun: each ends as CODES says."""
    log = tmp_path / "began"
    ends = "\n".join(
        f'    "{name}") {f"exit {code}" if code >= 0 else f"kill {code} $$"};;' for name, code in CODES.items()
    )
    script = f'echo "$5 $*" >>{log}\ncase "$5" in\n{ends}\nesac'
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python", script)))
    return log


def drill(site: LoadedSite, *words: str) -> int:
    return CliRunner().invoke(app, ["run", "--inventory", str(site.path), "--all", *words]).exit_code


def rounds(log: Path) -> list[tuple[str, bool]]:
    lines = log.read_text().splitlines()
    return [(line.split()[0], line.endswith("--negative")) for line in lines]


def test_each_is_drilled_and_then_with_a_fault_whatever_failed(site: LoadedSite, began: Path) -> None:
    assert drill(site, "--both") == 43
    found = rounds(began)
    assert sorted(found[:3]) == sorted((name, False) for name in CODES)
    assert sorted(found[3:]) == sorted((name, True) for name in CODES)
    began.unlink()
    assert drill(site, "--negative") == 43
    assert {planted for _, planted in rounds(began)} == {True}
    began.unlink()
    assert drill(site) == 43
    assert {planted for _, planted in rounds(began)} == {False}


def test_a_drill_that_was_killed_is_no_success(
    site: LoadedSite, began: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "killed", "kill -KILL $$")))
    assert drill(site) == 128 + signal.SIGKILL


def test_a_small_machine_drills_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.sysconf
    for gigabytes, wanted in ((0.5, 1), (1, 1), (2, 2), (64, 2)):
        pages = int(gigabytes * 2**30) // real("SC_PAGE_SIZE")
        monkeypatch.setattr(os, "sysconf", lambda name, pages=pages: pages if name == "SC_PHYS_PAGES" else real(name))
        assert running._at_once() == wanted


def test_told_to_end_it_ends_each_once_and_begins_no_more(site: LoadedSite, tmp_path: Path) -> None:
    """In a process of its own, with drills that take their time to end."""
    log = tmp_path / "log"
    script = f'trap "echo ended >>{log}; sleep 0.3; exit 44" TERM\necho began >>{log}\nwhile :; do sleep 0.05; done'
    python = program(tmp_path / "python", script)
    code = f"import sys; from cli.drill import app; sys.executable = {str(python)!r}; "
    code += f"app(['run', '--inventory', {str(site.path)!r}, '--all', '--both'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stderr=subprocess.DEVNULL, start_new_session=True
    ) as command:
        until("two drills", lambda: log.exists() and log.read_text().count("began") >= running._at_once())
        command.terminate()
        try:
            assert command.wait(10) != 0
        finally:
            os.killpg(command.pid, signal.SIGKILL) if command.poll() is None else None
    assert log.read_text().count("began") == log.read_text().count("ended") == running._at_once()


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch, **units: str) -> None:
    """systemctl says of units what is given, or that they are well."""
    cases = "\n".join(f"    *@{kind}.service) echo {said!r};;" for kind, said in units.items())
    program(folder / "systemctl", f'case "$*" in\n{cases}\n    *) echo ActiveState=inactive;;\nesac | tr " " "\\n"')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_unit_that_failed_without_a_report_is_a_finding(
    site: LoadedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = "ActiveState=failed Result={} ExecMainStatus={}".format
    asked(tmp_path, monkeypatch)
    assert list(by_timer.failed(site)) == []
    asked(tmp_path, monkeypatch, drill=failed("exit-code", 41))
    assert list(by_timer.failed(site)) == []
    for result, status in (("exit-code", 2), ("oom-kill", 44), ("signal", 9)):
        asked(tmp_path, monkeypatch, drill=failed(result, status))
        [found] = by_timer.failed(site)
        assert (found.kind, found.host, found.plan) == (Kind.NOT_DRILLED, "control-1", "control")
        assert f"mainstay-control@drill.service failed ({result}, status {status})" in found.what
    asked(tmp_path, monkeypatch, drill=failed("exit-code", 1), sweep=failed("exit-code", 1))
    drills, sweeps = by_timer.failed(site)
    assert "costs money" in sweeps.what
    assert drills.subject != sweeps.subject
