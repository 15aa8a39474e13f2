"""The runbook of another version of Gerrit, followed to the letter."""

from collections.abc import Iterator

import pytest

from tests.gerrit_site import HOST, VERSION
from tests.gerrit_upgrade import OLD, serves, upgradable
from tests.runbooks.reader import editing, follow
from tests.saved_site import Saved

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def gerrit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from upgradable(tmp_path_factory.mktemp("upgrade"))


def page(gerrit: Saved, *titles: str, editor: str = "true") -> str:
    return follow(gerrit, "gerrit-upgrade", *titles, editor=editor, host=HOST, version=VERSION)


def test_another_version_is_rehearsed_brought_in_taken_back_and_stays(gerrit: Saved) -> None:
    gerrit.must("run", f"{HOST}:gerrit")
    before = serves(gerrit)
    assert before[0] == OLD
    assert f"the site is of {OLD}" in page(gerrit, "Declare it")
    page(gerrit, "Rehearse it")
    assert f"{VERSION} runs: nobody could push" in page(gerrit, "Bring it in")
    assert serves(gerrit) == (VERSION, before[1])
    assert f"{OLD} runs, as before" in page(gerrit, "It is bad")
    assert serves(gerrit) == before
    page(gerrit, "Bring it in")
    # `war` says what `upgrade` said, and that is not there any more.
    script = "/^\\[settings.gerrit.war\\]/,/^$/d; s/^\\[settings.gerrit.upgrade\\]/[settings.gerrit.war]/"
    stays = editing(gerrit.folder, f"sed -i '{script}' \"$1\"")
    assert f"Gerrit {VERSION}" in page(gerrit, "It stays", editor=stays)
    assert serves(gerrit) == (VERSION, before[1])
