"""Production is deployed from what is committed and as new as what others have; real repositories, real refusals."""

from dataclasses import replace
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from cloud.switches import Switches, parse
from inventories import clone
from inventories.command_line import check_stops
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from tests.clones import cloned, commit, git

DEPLOY = ["pyinfra", "inventories/prod.py", "deploys/web.py"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return cloned(tmp_path, monkeypatch)


@pytest.fixture
def prod() -> LoadedSite:
    return load_site(REPOSITORY / "inventories/prod.py")


def test_a_clean_clone_as_new_as_its_upstream_is_deployed_from(work: Path, prod: LoadedSite) -> None:
    clone.check(prod, DEPLOY, work)
    commit(work, "own")
    clone.check(prod, DEPLOY, work)


@pytest.mark.parametrize("file", ["one", "new"])
def test_what_is_not_committed_is_not_deployed(work: Path, prod: LoadedSite, file: str) -> None:
    (work / file).write_text("changed")
    with pytest.raises(InputError, match=f"not as committed: {file}\n.*to deploy all the same: --data clone=as-is"):
        clone.check(prod, DEPLOY, work)


def test_a_clone_that_lacks_what_others_pushed_is_not_deployed_from(work: Path, prod: LoadedSite) -> None:
    commit(work.parent / "origin", "two")
    with pytest.raises(InputError, match="1 commits behind origin/main: a deploy from here would put back"):
        clone.check(prod, DEPLOY, work)
    git(work, "pull", "-q", "--ff-only")
    clone.check(prod, DEPLOY, work)


def test_who_cannot_know_what_others_pushed_is_told_so(work: Path, prod: LoadedSite) -> None:
    (work.parent / "origin").rename(work.parent / "away")
    with pytest.raises(
        InputError, match=r"origin/main cannot be asked for what others changed: .*\n.*offline: to deploy"
    ):
        clone.check(prod, DEPLOY, work)
    git(work, "checkout", "-q", "-b", "mine")
    with pytest.raises(InputError, match="mine follows no branch of others"):
        clone.check(prod, DEPLOY, work)


@pytest.mark.parametrize(
    "words",
    [
        [*DEPLOY, "--data", "clone=as-is"],
        [*DEPLOY, "--data=clone=as-is"],
        [*DEPLOY, "--dry"],
        ["pyinfra", "inventories/prod.py", "exec", "--", "uptime"],
    ],
)
def test_a_switch_deploys_all_the_same_and_looking_asks_for_none(
    work: Path, prod: LoadedSite, words: list[str]
) -> None:
    (work / "one").write_text("changed")
    clone.check(prod, words, work)


def test_another_word_for_the_switch_is_refused(work: Path, prod: LoadedSite) -> None:
    with pytest.raises(InputError, match="--data clone: cannot read 'asis'\n  it takes: as-is"):
        clone.check(prod, [*DEPLOY, "--data", "clone=asis"], work)


def test_a_rehearsal_is_deployed_from_any_clone(work: Path, prod: LoadedSite) -> None:
    (work / "one").write_text("changed")
    apart = prod.fleet.site.model_copy(update={"files": "/var/lib/x"})
    lab = prod.fleet.provider.model_copy(update={"api_url": "http://10.0.0.1:8000/v2"})
    for change in ({"site": apart}, {"provider": lab}):
        clone.check(replace(prod, fleet=prod.fleet.model_copy(update=change)), DEPLOY, work)


def test_what_provision_left_in_the_lock_file_is_taken_up_by_it_and_by_nothing_else(
    work: Path, prod: LoadedSite
) -> None:
    own = replace(prod, path=work / "inventories/prod.toml")
    own.lock_path.parent.mkdir(parents=True)
    commit(own.lock_path.parent, "lock.json")
    own.lock_path.write_text("{}")
    clone.check(own, ["pyinfra", "inventories/prod.py", "deploys/provision.py"], work)
    with pytest.raises(InputError, match=r"not as committed: inventories/prod/lock\.json"):
        clone.check(own, DEPLOY, work)


def test_provision_takes_the_switch_of_every_deploy() -> None:
    assert parse({"clone": "as-is"}, "prod.toml") == Switches()


@pytest.mark.parametrize("option", ["--no-wait", "--fail-percent=50"])
def test_no_option_has_a_deploy_go_on_after_a_failure(option: str) -> None:
    with pytest.raises(InputError, match=f"pyinfra: {option.partition('=')[0]}: .*\n.*--serial"):
        check_stops([*DEPLOY, option])
    check_stops([*DEPLOY, "--serial"])
    check_stops(["pyinfra", "inventories/prod.py", "exec", option, "--", "uptime"])
