"""A deploy that dies at any moment is made good by running it again: the host ends as one never interrupted."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cloud.converge import REPOSITORY, command, converge
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab.sites import derive, only
from tests.labs import own_lab
from tests.waiting import until

POINTS = 12
DANGEROUS = (8,)
"""In the middle, where files are in place and services not yet restarted."""

# 52mainstay holds the minute of the host's own reboot window; units/ when files changed: that each unit runs what is on
# disk shows in the last deploy, which finds nothing to change.
STATE = r"""
cd / && sudo find etc usr/local var/lib/mainstay -xdev \( -type f -o -type l \) \
    ! -path 'etc/ssh/ssh_host_*' ! -path 'etc/ssl/certs/*' ! -path 'etc/cloud/*' \
    ! -path '*/reports/*' ! -path 'var/lib/mainstay/units/*' ! -path var/lib/mainstay/tls/site.pem \
    ! -path var/lib/mainstay/deploys.jsonl ! -path var/lib/mainstay/image.json \
    ! -path etc/fstab ! -path etc/shadow ! -path etc/apt/apt.conf.d/52mainstay ! -name machine-id ! -name hostname \
    ! -name hosts ! -name resolv.conf ! -name mailname ! -name '*.network' ! -name .pwd.lock ! -name '*-' \
    -printf '%p %m %u %g %l\n' -type f -exec sha256sum {} + | sort
echo == packages; dpkg-query -Wf '${Package} ${Status}\n' | sort
echo == accounts; getent passwd | sort
echo == units; systemctl list-unit-files --state=enabled --no-legend | sort; systemctl --failed --no-legend
echo == listening; sudo ss -tulnH | awk '{print $1, $5}' | sed 's/10\.[0-9.]*\|fd6d[0-9a-f:]*/ADDRESS/' | sort -u
"""


def _release_hosts(suffixes: Iterable[object]) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        release = document["hosts"].pop("release-1").unwrap()
        only(document)
        for suffix in suffixes:
            document["hosts"][f"release-{suffix}"] = release
        # the authority would ask any of them, and some lie where a deploy left them
        document["settings"]["release"]["certificate"] = {"challenge": "none"}

    return change


@pytest.fixture(scope="module")
def inventory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A site of release servers: number 0 is deployed without interruption, the others are one selected point each."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    points = [item.callspec.params["point"] for item in here if hasattr(item, "callspec")]
    with own_lab("kills") as config:
        inventory = derive(config, config.root / "inventory", _release_hosts([0, *points, "reboot"]))
        provisioned = converge(inventory, "provision")
        assert provisioned.ok, provisioned.output
        yield inventory


def _deploy(inventory: Path, host: str, kill_at: int) -> subprocess.CompletedProcess[str]:
    words = command(inventory, "site", "--limit", host)[1:]
    killed = [sys.executable, "-m", "tests.faults.killed", str(kill_at), *words]
    return subprocess.run(killed, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)


def _state(inventory: Path, host: str) -> list[str]:
    """What the host is, but for what its name, address and keys make of it."""
    done = _ssh(inventory, host, STATE)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(host, "HOST").splitlines()


def _ssh(inventory: Path, host: str, command: str) -> subprocess.CompletedProcess[str]:
    config = inventory.with_suffix(".ssh")
    config.write_text(ssh_config(load_site(inventory)))
    words = ["ssh", "-F", str(config), host, command]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def untouched(inventory: Path) -> tuple[int, list[str]]:
    """How many remote commands a deploy of a fresh host takes, and what the host is afterwards."""
    done = _deploy(inventory, "release-0", 0)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.splitlines()[-1]), _state(inventory, "release-0")


def _points() -> list[Any]:
    return [pytest.param(n, marks=[] if n in DANGEROUS else [pytest.mark.full]) for n in range(1, POINTS + 1)]


@pytest.mark.lab
@pytest.mark.parametrize("point", _points())
def test_a_killed_deploy_run_again_ends_as_one_never_interrupted(
    inventory: Path, untouched: tuple[int, list[str]], point: int
) -> None:
    commands, expected = untouched
    host = f"release-{point}"
    killed = _deploy(inventory, host, max(1, commands * point // (POINTS + 1)))
    assert killed.returncode == -9
    again = converge(inventory, "site", "--limit", host)
    assert again.ok, again.output
    assert set(_state(inventory, host)) ^ set(expected) == set()
    assert converge(inventory, "site", "--limit", host).changed == ()


@pytest.mark.full
@pytest.mark.lab
def test_a_host_that_loses_power_in_the_middle_of_a_deploy_is_made_good_by_the_next(
    inventory: Path, untouched: tuple[int, list[str]]
) -> None:
    host = "release-reboot"
    deploy = subprocess.Popen(
        command(inventory, "site", "--limit", host), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    assert deploy.stderr
    assert any("Starting operation: release | packages" in line for line in deploy.stderr)
    site = load_site(inventory)
    headers = {"Authorization": f"Bearer {site.secrets['vultr_api_key'].get_secret_value()}"}
    instance = f"{site.fleet.provider.api_url}/instances/{site.lock.hosts[host].instance_id}"
    assert requests.post(f"{instance}/reboot", headers=headers, timeout=60).status_code == 204
    deploy.communicate(timeout=300)
    assert deploy.returncode != 0
    until("the host is back", lambda: _ssh(inventory, host, "true").returncode == 0)
    again = converge(inventory, "site", "--limit", host)
    assert again.ok, again.output
    assert set(_state(inventory, host)) ^ set(untouched[1]) == set()
    assert converge(inventory, "site", "--limit", host).changed == ()
