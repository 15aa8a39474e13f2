"""`mainstay lab` as an admin types it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories import lock
from lab import lifecycle
from lab.api.store import DRILL
from lab.engine import LabConfig
from tests.lab_hosts import LabCloud, cloud

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def api(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    yield from cloud(lab, tmp_path_factory.mktemp("lab-command"))


@pytest.fixture(scope="module")
def drill(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    yield from cloud(lab, tmp_path_factory.mktemp("lab-command-drill"), DRILL)


def mainstay(config: LabConfig, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("mainstay"), "lab", *words],
        env=os.environ | {"MAINSTAY_LAB": config.name},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_status_tells_programs_how_to_reach_the_api_and_each_host(api: LabCloud) -> None:
    host = api.host("shown", tags=["role:web"])
    told = json.loads(mainstay(api.config, "status", "--json").stdout)
    assert (told["state"], told["api_url"]) == ("up", api.config.api_url)
    assert api._session.headers["Authorization"] == f"Bearer {told['api_key']}"
    assert told["drill_api_url"] == api.config.drill_api_url
    assert told["drill_api_key"] == lifecycle.api_key(api.config, DRILL) != told["api_key"]
    (shown,) = told["hosts"]
    assert (shown["name"], shown["role"], shown["address"], shown["state"]) == ("shown", "web", host.ipv4, "running")
    assert "shown" in mainstay(api.config, "status").stdout
    assert "login:" in mainstay(api.config, "logs", "shown").stdout
    api("DELETE", f"/instances/{host.id}")


def test_ssh_enters_hosts_whose_key_is_pinned_and_no_others(api: LabCloud, drill: LabCloud) -> None:
    """The site's, also while one of the drills is called the same."""
    site = api.config.root / "site"
    admin = {"name": "lab", "ssh_authorized_keys": [(site / "id_ed25519.pub").read_text().strip()]}
    host = api.host("pinned", users=[admin])
    before = mainstay(api.config, "ssh", "pinned", "true")
    assert before.returncode == 255
    assert "Host key verification failed" in before.stderr
    key = (api.folder / "host-pinned.pub").read_text().strip()
    locked = lock.LockedHost(instance_id=host.id, ipv4=host.ipv4, ipv6=host.ipv6, host_keys=(key,))
    lock.save(site / "lock.json", lock.Lock(hosts={"pinned": locked}))
    namesake = drill.begin("pinned")
    assert mainstay(api.config, "ssh", "pinned", "hostname").stdout == "pinned\n"
    assert mainstay(api.config, "ssh", "pinned", "sh -c 'exit 7'").returncode == 7
    config = api.folder / "ssh_config"
    config.write_text(mainstay(api.config, "ssh-config").stdout)
    done = subprocess.run(["ssh", "-F", config, "pinned", "id", "-un"], text=True, capture_output=True, check=True)
    assert done.stdout == "lab\n"
    (site / "lock.json").unlink()
    api("DELETE", f"/instances/{host.id}")
    drill("DELETE", f"/instances/{namesake}")


def test_mistakes_are_told_apart_by_exit_code(api: LabCloud, lab: LabConfig) -> None:
    wrong = mainstay(lab, "ssh", "nobody")
    assert (wrong.returncode, "has no host 'nobody'" in wrong.stderr) == (2, True)
    absent = LabConfig("no-such-lab", 15, lab.root)
    assert mainstay(absent, "status").returncode == 3
    assert mainstay(absent, "logs", "x").returncode == 3
    assert mainstay(absent, "frobnicate").returncode == 2
