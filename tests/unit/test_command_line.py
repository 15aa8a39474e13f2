"""What pyinfra is told to run, and on which hosts, is what the admin meant."""

from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from inventories.command_line import (
    check_choices,
    check_dry,
    check_files,
    check_folder,
    deploys,
    is_pyinfra,
    refuse_choices,
)
from inventories.errors import InputError

GROUPS = {"release": ["release-1"], "web": ["web-1", "web-2"]}


@pytest.mark.parametrize("words", [["--limit", "wbe-1"], ["--limit=web-1", "--limit=db"], ["--exclude", "web-3"]])
def test_a_choice_of_hosts_that_matches_none_is_refused(words: list[str]) -> None:
    with pytest.raises(
        InputError, match="matches no host\n  hosts of this deploy are: release-1, web-1, web-2; groups"
    ):
        check_choices(["pyinfra", "prod.py", "deploys/site.py", *words], GROUPS)


@pytest.mark.parametrize("words", [["--limit", "web-*"], ["--exclude=release"], ["exec", "--", "x", "--limit", "9"]])
def test_a_choice_of_hosts_is_a_name_a_pattern_or_a_group(words: list[str]) -> None:
    check_choices(["pyinfra", "prod.py", *words], GROUPS)


@pytest.mark.parametrize("option", ["--limit", "--exclude"])
def test_a_deploy_of_the_whole_site_takes_no_choice_of_hosts(option: str) -> None:
    with pytest.raises(InputError, match=f"{option}: web-1: provisioning works on the site as a whole"):
        refuse_choices(["pyinfra", "prod.py", "deploys/provision.py", f"{option}=web-1"])


@pytest.mark.parametrize("words", [["--dry", "-y"], ["--yes", "--dry"], ["-vy", "--dry"]])
def test_a_dry_run_that_would_look_at_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match="--dry: with --yes pyinfra looks at nothing, so its empty plan means nothing"):
        check_dry(["pyinfra", "prod.py", "deploys/site.py", *words], {})


def test_a_dry_run_may_not_be_told_yes_by_the_environment_either() -> None:
    check_dry(["pyinfra", "prod.py", "deploys/site.py", "--dry", "-v"], {})
    check_dry(["pyinfra", "prod.py", "exec", "-y", "--", "apt", "--dry"], {})
    with pytest.raises(InputError, match="leave out -y, --yes and PYINFRA_YES"):
        check_dry(["pyinfra", "prod.py", "deploys/site.py", "--dry"], {"PYINFRA_YES": "1"})


def test_deploys_are_what_lies_in_their_folder() -> None:
    assert deploys(["pyinfra", "inventories/prod.py", "/clone/deploys/web.py", "deploys/base.py"]) == {"web", "base"}


def test_an_inventory_that_is_not_there_is_no_name_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    check_files(["pyinfra", "inventories/prod.py", "deploys/release.py", "--limit", "x", "exec", "--", "x.py"])
    there = "inventories/lab.py, inventories/prod.py, inventories/signing.py, inventories/staging.py"
    with pytest.raises(InputError, match=f"inventories/prd.py: no such file\n  inventories there: {there}"):
        check_files(["pyinfra", "inventories/prd.py", "deploys/release.py", "-y"])


def test_pyinfra_without_our_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_folder(REPOSITORY)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"was started in {tmp_path}, where .*config.py\n  start it in {REPOSITORY}"):
        check_folder(REPOSITORY)


def test_pyinfra_is_known_as_a_program_and_as_a_module() -> None:
    for word in ("pyinfra", "/clone/.venv/bin/pyinfra", "/opt/mainstay/packages/pyinfra/__main__.py"):
        assert is_pyinfra([word, "prod.py"]), word
    for words in ([], ["/clone/.venv/bin/pytest"], ["/clone/.venv/pytest/__main__.py", "pyinfra"]):
        assert not is_pyinfra(words), words
