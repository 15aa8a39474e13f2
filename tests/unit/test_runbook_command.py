"""`mainstay runbook`: every page is found, by when it is for."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.runbook import PAGES, pages
from inventories.errors import InputError

NAMES = sorted(path.stem for path in PAGES.glob("*.md") if path.name != "README.md")


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["runbook", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_all_are_listed() -> None:
    assert [page["name"] for page in json.loads(run("list", "--json"))] == NAMES
    assert all(name in run("list") for name in NAMES)


def test_each_says_what_it_is_and_when_it_is_for_and_stands_in_the_table() -> None:
    table = (PAGES / "README.md").read_text()
    for page in pages():
        assert page.title, page.name
        assert page.when, page.name
        assert f"]({page.name}.md)" in table, page.name


def test_one_is_shown_as_it_stands() -> None:
    assert run("show", "disk-full") == (PAGES / "disk-full.md").read_text()


def test_what_is_meant_is_guessed() -> None:
    with pytest.raises(InputError, match="there is no runbook 'disc-full'\n  do you mean disk-full"):
        run("show", "disc-full")
