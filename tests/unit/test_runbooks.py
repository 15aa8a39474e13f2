"""Runbooks and what refers to them agree."""

import re
from pathlib import Path

import pytest

from backup import custody
from backup.data_set import Kind
from tests.runbooks import reader
from tests.runbooks.reader import RUNBOOKS, Runbook

PAGES = sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README")
FOLLOWED = [*PAGES, "../first-day"]
TESTS = "".join(path.read_text() for path in sorted(Path(reader.__file__).parent.glob("test_*.py")))
WORDS = "".join(path.read_text() for path in (RUNBOOKS.parents[1] / "backup").rglob("*.py"))


@pytest.mark.parametrize("page", FOLLOWED)
def test_every_command_of_a_page_is_followed_by_a_test(page: str) -> None:
    sections = Runbook(page).sections
    assert "" in sections
    for title in sections:
        assert f'"{title}"' in TESTS or not title, f"no test follows {page}: {title}"
    assert f'"{page}"' in TESTS


@pytest.mark.parametrize("page", FOLLOWED)
def test_paths_that_may_have_blanks_are_quoted(page: str) -> None:
    script = "\n".join(Runbook(page).sections.values())
    for found in re.finditer(r"\$(?:MAINSTAY_INVENTORY|files|ledgers|to|work)\b", script):
        before = script[: found.start()]
        assert before.count('"') % 2, f"not quoted: {before.splitlines()[-1]}{found[0]}"


@pytest.mark.parametrize("page", PAGES)
def test_the_list_names_every_page(page: str) -> None:
    assert f"({page}.md)" in (RUNBOOKS / "README.md").read_text()


def test_findings_name_pages_that_are_there() -> None:
    named = set(re.findall(r"docs/runbooks/([\w-]+)\.md", WORDS))
    assert named
    assert named <= {*PAGES}


def test_what_is_promised_of_each_data_set_is_what_its_role_says() -> None:
    text = (RUNBOOKS.parents[1] / "backup/README.md").read_text()
    promised = dict(re.findall(r"^\| `(\w+)`: [^|]*\| ([\w-]+ \| \d+ h) \|", text, re.MULTILINE))
    roles = sorted(path.parent.name for path in (RUNBOOKS.parents[1] / "roles").glob("*/recovery.py"))
    said = {role: custody.recovery(role) for role in roles}
    assert promised == {
        role: f"{one.every} | {one.rpo_hours} h" for role, one in said.items() if one.consistency != "none"
    }
    (keep,) = {one.keep for one in said.values() if one.consistency != "none"}
    kept = f"the last {keep.last}, {keep.daily} daily, {keep.weekly} weekly, {keep.monthly} monthly"
    assert kept in text


def test_the_exit_codes_of_status_are_those_that_are_told() -> None:
    text = (RUNBOOKS.parents[1] / "backup/README.md").read_text()
    [told] = re.findall(r"^`status` exits with the worst finding: (.*?)\.\sEach", text, re.MULTILINE | re.DOTALL)
    assert " ".join(told.split()).split(", ") == [f"{kind.exit_code} {kind.word}" for kind in Kind]
