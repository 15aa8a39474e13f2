"""A newcomer's first command."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cloud.converge import REPOSITORY, converge
from inventories.inventory import load_site
from inventories.ssh import configured
from lab import load, release_build, repositories, sample
from lab.fetch import lab_of
from tests.conftest import rehearse

pytestmark = pytest.mark.lab
NOTHING = {"nothing to change", "nothing to load"}


def test_the_rehearsal_serves_phones_and_browsers(rehearsal: Any) -> None:
    outcomes = {step["name"]: step["outcome"] for step in rehearsal["steps"]}
    assert outcomes["fetch as a phone does"] == "8 incremental and 8 full updates, by IPv4 and IPv6"
    assert outcomes["fetch as a browser does"] == "20 pages, by IPv4 and IPv6"
    assert "failed" not in outcomes.values()


def test_the_rehearsal_publishes_a_release_to_two_servers(site: Path) -> None:
    words = [REPOSITORY / "bin/mainstay", "release", "status", "--json", "--inventory", site]
    told = json.loads(_said(*map(str, words)))
    assert [one["name"] for one in told["servers"]] == ["release-1", "release-2"]
    assert {one["commit"] for one in told["servers"]} == {told["commit"]}
    offered = {(one["device"], one["channel"]): one["build"] for one in told["channels"]}
    assert offered["panther", "testing"] == offered["panther", "beta"] == release_build.NEXT.number
    assert offered["panther", "stable"] == sample.CURRENT.number


def test_the_rehearsal_takes_changes_through_review_and_saves_gerrit_while_people_push(rehearsal: Any) -> None:
    outcomes = {step["name"]: step["outcome"] for step in rehearsal["steps"]}
    submitted = "2 changes submitted, over ssh and https, and fetched by anybody"
    assert outcomes["changes reviewed and submitted"] == submitted
    assert re.fullmatch(r"[1-9]\d* changes taken, over ssh and https", outcomes["changes pushed meanwhile"])
    names = list(outcomes)
    assert names.index("changes pushed meanwhile") == names.index("mainstay backup run gerrit-1:gerrit") + 1


def test_after_the_rehearsal_gerrit_is_as_it_is_declared_and_its_sources_are_clean(site: Path) -> None:
    told = json.loads(_said(str(REPOSITORY / "bin/mainstay"), "gerrit", "plan", "--json", "--inventory", str(site)))
    assert (told["differences"], [one["holds"] for one in told["expectations"]]) == ([], [True] * 2)
    with configured(load_site(site)) as config:
        status = "sudo cat /srv/control/status/sources.json"
        audited = json.loads(_said("ssh", "-F", str(config), "control-1", status))
    assert (audited["exit_code"], [one["projects"] for one in audited["manifests"]]) == (0, [1])


@pytest.mark.parametrize("deploy", ["provision", "site"])
def test_a_second_deploy_changes_nothing(site: Path, deploy: str) -> None:
    done = converge(site, deploy)
    assert (done.ok, done.changed) == (True, ()), done.output


def test_content_that_is_there_is_loaded_only_once(site: Path) -> None:
    assert load.content(load_site(site)) == "nothing to load"


@pytest.mark.full
def test_a_second_rehearsal_changes_nothing(rehearsal: Any) -> None:
    """And saves, proves and drills once more: minutes."""
    changing = [step for step in rehearse()["steps"] if step["name"].startswith(("deploys/", "load"))]
    assert len(changing) == 3
    assert {step["outcome"] for step in changing} <= NOTHING


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_the_control_host_mirrors_the_list_of_checksums_and_a_host_can_clone_it(site: Path) -> None:
    loaded = load_site(site)
    lab = lab_of(loaded)
    head = _said("git", "-C", str(repositories.CHECKSUMS.path(lab)), "rev-parse", "main")
    mirrored = "sudo -u control git -C /srv/control/mirrors/checksums.git rev-parse main"
    url = repositories.CHECKSUMS.url(lab)
    cloned = f'cd "$(mktemp -d)" && git clone -q {url} . && git rev-parse main && rm -r "$PWD"'
    with configured(loaded) as config:
        assert [_said("ssh", "-F", str(config), "control-1", words) for words in (mirrored, cloned)] == [head, head]
