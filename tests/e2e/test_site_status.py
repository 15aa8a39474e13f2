"""`mainstay status` of a real site: what is wrong with its hosts is first."""

import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cloud.converge import REPOSITORY
from tests.restics import restic
from tests.waiting import until
from tests.watched_site import CONTROL, DATA, VAULT, Watched, watched_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    for site in watched_site(tmp_path_factory.mktemp("watched")):
        until("the control host looks", site.watch)
        yield site


def status(watched: Watched, *words: str) -> "subprocess.CompletedProcess[str]":
    chosen = {"MAINSTAY_INVENTORY": str(watched.inventory), "MAINSTAY_RESTIC": restic()}
    command = [str(REPOSITORY / "bin/mainstay"), "status", *words]
    return subprocess.run(command, env=os.environ | chosen, capture_output=True, text=True, check=False, timeout=300)


def told(watched: Watched) -> tuple[int, dict[str, Any]]:
    """But for updates: on a machine that is very busy apt is given up, which is told."""
    done = status(watched, "--json")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    found["findings"] = [one for one in found["findings"] if one["what"] != "it could not tell: updates"]
    return done.returncode, found


def firsts(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["severity"], one["about"], one["kind"]) for one in found["findings"]]


def test_every_host_is_seen_and_nothing_is_wrong_with_it(watched: Watched) -> None:
    _, found = told(watched)
    rows = {one["name"]: one for one in found["sources"]["hosts"]["tables"]["hosts"]}
    assert set(rows) == {VAULT, DATA, CONTROL}
    for one in rows.values():
        assert one["seen"]
        assert None not in (one["debian"], one["kernel"], one["units"], one["disks"]), one
    assert [one for one in found["findings"] if one["source"] in ("hosts", "drift", "deploys")] == []
    looked = {one["name"]: one["findings"] for one in found["sources"]["drift"]["tables"]["drift"]}
    assert looked == {VAULT: [], DATA: [], CONTROL: []}
    deployed = {one["name"]: one["result"] for one in found["sources"]["deploys"]["tables"]["deploys"]}
    assert deployed == dict.fromkeys((VAULT, DATA, CONTROL), "finished")
    assert [one for one in found["findings"] if one["severity"] == "unseen"] == []
    assert {one["name"] for one in found["sources"]["backups"]["tables"]["data_sets"]} == {
        "web-1:web",
        "control-1:control",
    }


def test_a_unit_that_is_stopped_is_first(watched: Watched) -> None:
    watched.root(DATA, "systemctl stop nginx")
    try:
        code, found = told(watched)
    finally:
        watched.root(DATA, "systemctl start nginx")
    hosts = [one for one in found["findings"] if one["source"] == "hosts"]
    assert found["findings"][0] == hosts[0]
    assert (hosts[0]["about"], hosts[0]["severity"]) == (DATA, "critical")
    assert "nginx.service" in [one for each in hosts if each["kind"] == "stopped units" for one in each["what"].split()]
    assert code == found["exit_code"]
    assert code in (1, 3)


def test_a_host_that_is_off_is_first_and_all_else_is_shown(watched: Watched) -> None:
    watched.power(DATA, "halt")
    try:
        code, found = told(watched)
    finally:
        watched.power(DATA, "start")
    until("nginx", partial(watched.root, DATA, "systemctl is-active nginx || true"))
    assert firsts(found)[0] == ("unseen", DATA, "not seen")
    assert (code, found["exit_code"]) == (3, 3)
    rows = {one["name"]: one["seen"] for one in found["sources"]["hosts"]["tables"]["hosts"]}
    assert rows == {VAULT: True, DATA: False, CONTROL: True}
    assert found["sources"]["backups"]["seen"]
