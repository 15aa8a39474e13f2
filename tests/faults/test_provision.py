"""Provisioning through every fault: afterwards exactly the declared things exist, once, and their hosts are trusted."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY, command
from cloud.user_data import host_key
from inventories.inventory import load_site
from inventories.lock import save
from lab.engine import LabConfig
from tests.labs import own_lab
from tests.small_site import SmallSite, small_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
FULL = pytest.mark.full


@pytest.fixture(scope="module")
def lab() -> Iterator[LabConfig]:
    """A lab apart from that of the other tests, since faults strike all sites of one."""
    with own_lab("provision") as config:
        yield config


@pytest.fixture
def small(lab: LabConfig, tmp_path: Path) -> Iterator[SmallSite]:
    yield from small_site(lab, tmp_path)


@pytest.mark.parametrize(
    "point",
    [
        "before POST /instances",
        "after POST /instances",
        "during use",
        pytest.param("after POST /vpcs", marks=FULL),
        pytest.param("after POST /firewalls", marks=FULL),
        pytest.param("after POST /firewalls/ID/rules", marks=FULL),
        pytest.param("after POST /domains", marks=FULL),
        pytest.param("lock 4", marks=FULL),
        pytest.param("lock 5", marks=FULL),
        pytest.param("before make", marks=FULL),
        pytest.param("during make", marks=FULL),
        pytest.param("after make", marks=FULL),
        pytest.param("before use", marks=FULL),
        pytest.param("after use", marks=FULL),
        pytest.param("after PATCH /instances/ID", marks=FULL),
        pytest.param("during scrub", marks=FULL),
        pytest.param("after scrub", marks=FULL),
        pytest.param("after POST /blocks", marks=FULL),
        pytest.param("before POST /blocks/ID/attach", marks=FULL),
        pytest.param("after POST /blocks/ID/attach", marks=FULL),
    ],
)
def test_killed_at_any_point_the_next_run_ends_with_everything_once(small: SmallSite, point: str) -> None:
    small.kill(point)
    done = small.provision()
    assert done.ok, done.output
    small.must_be_whole()


def test_a_storm_of_faults_leaves_everything_once(small: SmallSite) -> None:
    small.fault("rate_limit", times=5)
    for path in ("/vpcs", "/instances", "/blocks"):
        small.fault("lost_response", method="POST", path=path)
        small.fault("locked", method="POST", path=path)
    small.fault("timeout", method="GET", path="/instances", seconds=2)
    done = small.provision()
    assert done.ok, done.output
    small.must_be_whole()


@pytest.mark.full
@pytest.mark.parametrize("kind", ["rate_limit", "locked", "lost_response", "timeout"])
def test_a_fault_at_every_creation_leaves_everything_once(small: SmallSite, kind: str) -> None:
    for path in ("/vpcs", "/firewalls", "/domains", "/instances", "/blocks"):
        small.fault(kind, method="POST", path=path, times=2, seconds=2)
    done = small.provision()
    assert done.ok, done.output
    small.must_be_whole()


def test_two_runs_at_once_make_nothing_twice(small: SmallSite) -> None:
    small.fault("timeout", method="GET", path="/instances", seconds=5)
    words = command(small.inventory, "provision")
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        until("the first run looks around", lambda: _held(load_site(small.inventory).files))
        second = small.provision()
        assert first.poll() is None
        assert not second.ok
        assert "another run provisions this site: wait for its end" in second.output
        assert first.wait(120) == 0
    small.must_be_whole()


@pytest.mark.full
def test_an_interrupted_run_ends_at_once_and_the_next_one_finishes(small: SmallSite) -> None:
    small.fault("slow_boot", instance="web-1", seconds=20)
    words = command(small.inventory, "provision")
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as run:
        lines = iter(run.stderr or ())
        assert any("installingbooting" in line for line in lines)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "interrupted: the same command resumes where this one stopped" in said
    done = small.provision()
    assert done.ok, done.output
    small.must_be_whole()


def _held(folder: Path) -> bool:
    """Whether some process holds a lock on it (flock(2); no lock is taken that could stand in another's way)."""
    inode = f":{folder.stat().st_ino} "
    return any(inode in line for line in Path("/proc/locks").read_text().splitlines())


def test_a_host_with_another_key_than_pinned_is_refused(small: SmallSite) -> None:
    done = small.provision()
    assert done.ok, done.output
    site = load_site(small.inventory)
    others = site.lock.hosts["web-1"].model_copy(update={"host_keys": (host_key().public,)})
    save(site.lock_path, site.lock.model_copy(update={"hosts": {"web-1": others}}))
    assert "Host key verification failed" in small.ssh("true").stderr
    words = [command(small.inventory, "provision")[0], str(small.inventory), "-y", "exec", "--", "true"]
    pyinfra = subprocess.run(
        words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert pyinfra.returncode != 0
    assert "unreachable: web-1" in pyinfra.stderr
    unfinished = others.model_copy(update={"first_contact_key": host_key().public})
    save(site.lock_path, site.lock.model_copy(update={"hosts": {"web-1": unfinished}}))
    refused = small.provision()
    assert not refused.ok
    assert "which is not the one in the lock" in refused.output


def test_a_host_that_never_boots_is_named_and_the_others_are_finished(small: SmallSite) -> None:
    spare = '[hosts.spare]\nrole = "base"\nplan = "vc2-1c-1gb"\nregion = "ams"\n\n[settings.release]'
    small.edit(lambda text: text.replace("[settings.release]", spare))
    small.fault("never_boots", instance="spare")
    words = [sys.executable, "-c", IMPATIENT, *command(small.inventory, "provision")[1:]]
    done = subprocess.run(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "host/spare: " in done.stderr + done.stdout
    assert small.ssh("true").returncode == 0


IMPATIENT = """
import sys
from pyinfra_cli.main import main
from cloud import first_contact, hosts
hosts.BOOT_S = first_contact.BOOT_S = 10
main()
"""
