"""A deploy that dies at any moment is made good by running it again: the host ends as one that was never interrupted."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import lifecycle
from lab.converge import REPOSITORY, converge
from lab.sites import derive

POINTS = 12
DANGEROUS = (4, 8, 11)
"""Early, in the middle, and close to the end, where files are in place and services not yet restarted."""

STATE = r"""
cd / && sudo find etc usr/local var/lib/mainstay -xdev \( -type f -o -type l \) \
    ! -path 'etc/ssh/ssh_host_*' ! -name 'machine-id' ! -name hostname ! -name hosts ! -name '*.network' \
    ! -name '.pwd.lock' ! -name '*-' ! -name 'ld.so.cache' ! -path 'etc/fstab' ! -path 'etc/cloud/*' ! -name mailname \
    ! -path 'etc/ssl/certs/*' ! -path 'etc/shadow' ! -path '*/reports/*' ! -name resolv.conf \
    -printf '%p %m %u %g %l ' \( -type f -exec sh -c 'sha256sum < "$1"' _ {} \; -o -printf '\n' \) | sort
echo == packages; dpkg-query -Wf '${Package} ${Status}\n' | sort
echo == accounts; getent passwd | sort
echo == units; systemctl list-unit-files --state=enabled --no-legend | sort; systemctl --failed --no-legend
echo == listening; sudo ss -tulnH | awk '{print $1, $5}' | sed 's/10\.64\.[0-9.]*\|fd6d[0-9a-f:]*/ADDRESS/' | sort -u
"""


def _only_release_hosts(document: Any) -> None:
    release = document["hosts"].pop("release-1").unwrap()
    del document["hosts"]["web-1"]
    for number in range(POINTS + 1):
        document["hosts"][f"release-{number}"] = {**release, "dns": []}


@pytest.fixture(scope="module")
def inventory() -> Iterator[Path]:
    """A site of release servers: number 0 is deployed without interruption, the others are one point each."""
    lifecycle.down("kills")
    config = lifecycle.up("kills")
    inventory = derive(config, config.root / "inventory", _only_release_hosts)
    provisioned = converge(inventory, "provision")
    assert provisioned.ok, provisioned.output
    yield inventory
    lifecycle.down("kills")


def _deploy(inventory: Path, host: str, kill_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.killed", str(kill_at)]
    command += [str(inventory), "deploys/site.py", "-y", "--limit", host]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)


def _state(inventory: Path, host: str) -> list[str]:
    """What the host is, but for what its name, address and keys make of it."""
    config = inventory.with_suffix(".ssh")
    config.write_text(ssh_config(load_site(inventory)))
    done = subprocess.run(["ssh", "-F", config, host, STATE], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.replace(host, "HOST").splitlines()


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
    assert _state(inventory, host) == expected
    assert converge(inventory, "site", "--limit", host).changed == ()


@pytest.mark.lab
def test_a_host_rebooted_in_the_middle_of_a_deploy_is_made_good_by_the_next(
    inventory: Path, untouched: tuple[int, list[str]]
) -> None:
    """The last host, which no other default point uses, loses power while its deploy runs."""
    commands, expected = untouched
    host = f"release-{POINTS}"
    with ThreadPoolExecutor(1) as pool:
        deploy = pool.submit(_deploy, inventory, host, max(1, commands // 2))
        assert deploy.result().returncode == -9
    lifecycle.reboot("kills", host)
    again = converge(inventory, "site", "--limit", host)
    assert again.ok, again.output
    assert _state(inventory, host) == expected
