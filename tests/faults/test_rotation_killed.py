"""A rotation that was killed at any moment goes on, and in between host and secrets file open the repository."""

import subprocess
import sys

import pytest

from backup.data_set import Kind
from cloud.converge import REPOSITORY
from tests.faults.test_rotation import held, must_be_rotated, saved
from tests.saved_site import DATA, SET, Saved

__all__ = ["saved"]

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

TELLING = "pyinfra 1"
"""The secrets file has the new password, and the host still the old one."""
POINTS = (
    *("write 1", "ssh 1", "restic key add 1", "restic snapshots 1", "restic key add 2", "restic snapshots 2"),
    *("write 2", TELLING, "ssh 2", "restic key list 1", "restic key list 2", "ssh 3"),
    *("restic key remove 1", "restic key list 3", "restic key remove 2", "restic key list 4", "write 3"),
)


@pytest.mark.parametrize("point", [pytest.param(one, marks=[pytest.mark.full] * (one != TELLING)) for one in POINTS])
def test_a_rotation_that_was_killed_goes_on_and_in_between_host_and_secrets_file_open_the_repository(
    saved: Saved, point: str
) -> None:
    old = held(saved)[SET.secret]
    assert rotate_until(saved, point).returncode == -9
    # By the password of the secrets file, snapshots are listed in both stores: otherwise there were more findings.
    code, findings = saved.status()
    unfinished = len(held(saved)) > 1
    assert (code, len(findings)) == ((Kind.ROTATING.exit_code, 1) if unfinished else (0, 0)), findings
    saved.must("run", DATA)
    saved.must("rotate", DATA)
    must_be_rotated(saved, old)


@pytest.mark.full
def test_the_points_are_all_there_are(saved: Saved) -> None:
    done = rotate_until(saved, "")
    assert done.returncode == 0, done.stdout + done.stderr
    assert tuple(line.removeprefix("passed ") for line in done.stdout.splitlines() if "passed " in line) == POINTS


def rotate_until(saved: Saved, point: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "tests.faults.rotation_killed", point, *saved.words("rotate", DATA)[1:]]
    return subprocess.run(
        words,
        cwd=REPOSITORY,
        env=saved.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
