"""The account of the drills on real hosts: one of its own boots, and reaches the API by https and its own key alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from inventories import secrets
from lab import lifecycle
from lab.api.store import DRILL
from lab.engine import LabConfig
from tests.lab_hosts import Host, LabCloud, cloud

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def main(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    yield from cloud(lab, tmp_path_factory.mktemp("main"))


@pytest.fixture(scope="module")
def drill(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    yield from cloud(lab, tmp_path_factory.mktemp("drill"), DRILL)


@pytest.fixture(scope="module")
def host(drill: LabCloud) -> Host:
    """Of the drills' account, behind a firewall group of its own that lets admins in."""
    group = drill("POST", "/firewalls", {"description": "drill"})["firewall_group"]["id"]
    rule = {"ip_type": "v4", "protocol": "tcp", "port": "22", "subnet": "0.0.0.0", "subnet_size": 0}
    drill("POST", f"/firewalls/{group}/rules", rule)
    return drill.host("drilled", firewall_group_id=group)


def ask(host: Host, url: str, key: str, path: str, *options: str) -> str:
    """The body of an answer, and its status in a last line; of no answer, curl's exit code."""
    header = f'-H "Authorization: Bearer {key}"'
    return host.ssh(f'curl -s {" ".join(options)} {header} -w "\\n%{{http_code}}" {url}{path}; echo " $?"')


def test_a_host_of_the_drills_account_is_there_and_seen_by_no_other(
    main: LabCloud, drill: LabCloud, host: Host
) -> None:
    site = main.host("production")
    assert [item["id"] for item in drill("GET", "/instances")["instances"]] == [host.id]
    assert [item["id"] for item in main("GET", "/instances")["instances"]] == [site.id]
    for mine, theirs in ((main, host), (drill, site)):
        for method in ("GET", "DELETE"):
            assert mine.raw(method, f"/v2/instances/{theirs.id}").status_code == 404
    assert site.answers()
    assert host.answers()
    told = {shown["name"]: shown["account"] for shown in lifecycle.status(main.config.name)["hosts"]}
    assert told == {"production": "main", "drilled": "drill"}


def test_the_api_answers_a_host_by_https_and_its_own_certificate(main: LabCloud, drill: LabCloud, host: Host) -> None:
    status = lifecycle.status(drill.config.name)
    url, key = status["drill_api_url"], status["drill_api_key"]
    trust = Path(status["site"]) / "provider.pem"
    host.ssh(f'echo "{trust.read_text()}" >/root/provider.pem')
    body, _, ended = ask(host, url, key, "/instances", "--cacert /root/provider.pem").rpartition("\n200")
    assert (ended.strip(), [item["id"] for item in json.loads(body)["instances"]]) == ("0", [host.id])
    assert ask(host, url, key, "/instances").split() == ["000", "60"]
    assert "Invalid API token" in ask(host, url, key + "X", "/instances", "--cacert /root/provider.pem")
    here = requests.get(f"{url}/account", headers={"Authorization": f"Bearer {key}"}, verify=str(trust), timeout=60)
    assert here.json() == drill("GET", "/account")
    assert here.json() != main("GET", "/account")


def test_a_lab_from_before_that_account_has_it_once_it_comes_up(lab: LabConfig, drill: LabCloud, host: Host) -> None:
    """Its hosts go on meanwhile."""
    site, before = lab.root / "site", lifecycle.api_key(lab, DRILL)
    (lab.root / "drill_api_key").unlink()
    held = secrets.read(site / "secrets.age")
    secrets.write(site / "secrets.age", {name: entry for name, entry in held.items() if name != "drill_api_key"})
    assert lifecycle.status(lab.name)["drill_api_key"] == ""
    booted = host.ssh("cat /proc/sys/kernel/random/boot_id")
    lifecycle.up(lab.name)
    key = lifecycle.api_key(lab, DRILL)
    assert key != before
    drill._session.headers["Authorization"] = f"Bearer {key}"
    for bearer, status in ((key, 200), (before, 401)):
        headers = {"Authorization": f"Bearer {bearer}"}
        url, trust = f"{lab.drill_api_url}/instances/{host.id}", str(site / "provider.pem")
        assert requests.get(url, headers=headers, verify=trust, timeout=60).status_code == status
    opened = secrets.Secrets(site / "secrets.age", [site / "id_ed25519"])
    assert opened["drill_api_key"].get_secret_value() == key
    assert host.ssh("cat /proc/sys/kernel/random/boot_id") == booted
