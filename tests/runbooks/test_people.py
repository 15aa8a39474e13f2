"""The runbooks of those who come and go, followed to the letter in a clone without hosts: all but the deploys."""

import os
from pathlib import Path
from typing import Any

import pytest

from cloud.converge import REPOSITORY
from inventories import departed, identities
from tests.people_site import VALUES, Place, made, security_key
from tests.runbooks.reader import SHELL, editing, follow_in


@pytest.fixture(scope="module")
def folk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for name in ("alice", "bob", "carol"):
        made(folder, name)
    made(folder, "age", "ed25519")
    security_key(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, folk: Path) -> Place:
    found = Place(tmp_path, folk)
    found.put(gerrit_token="t" * 40)
    return found


def follow(place: Place, page: str, *titles: str, editor: str = "false", **names: Any) -> str:
    path = f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}"
    own = {"PATH": path, "EDITOR": editor, "VISUAL": editor, identities.VARIABLE: str(place.people / "alice")}
    names = {"MAINSTAY_INVENTORY": place.inventory, **names}
    return follow_in(SHELL, {"cwd": REPOSITORY, "env": os.environ | own}, page, *titles, **names)


def test_a_new_admin(place: Place, folk: Path) -> None:
    given: dict[str, Any] = {"age": (folk / "age.pub").read_text().strip(), "roles": "release,web"}
    page = "admin-new"
    follow(place, page, "With an ed25519 key, on all hosts", name="carol", key=folk / "carol.pub", **given)
    assert {*place.read_by("carol")} == {*VALUES, "gerrit_token"}
    follow(place, page, "With a security key", name="dora", key=folk / "token.pub", **given)
    assert {*place.read_by("age")} == {*VALUES, "gerrit_token"}
    made(place.files.parent, "erin")
    erin = place.files.parent / "erin.pub"
    said = follow(place, page, "On hosts of some roles alone", name="erin", key=erin, **given)
    assert "of the roles release, web" in said
    assert place.site.admins.admins["erin"].roles == ("release", "web")
    made(place.files.parent, "frank")
    follow(place, page, "To publish, and for nothing else", name="frank", key=place.files.parent / "frank.pub", **given)
    assert place.site.admins.admins["frank"].publisher


def test_an_admin_leaves(place: Place, tmp_path: Path) -> None:
    page, left = "admin-leaves", {"name": "bob"}
    said = follow(place, page, "Take them out", **left)
    assert "gerrit_token: `mainstay secrets rotate gerrit_token`" in said
    assert place.read_by("bob") == {}
    said = follow(place, page, "Replace what this project makes itself", **left)
    assert departed.known(departed.read(place.files)) == tuple(sorted(VALUES))
    changed = editing(tmp_path, "sed -i 's/hunter2/new/; s/correct-horse-battery/another/' \"$1\"")
    said = follow(place, page, "Replace what others issue", editor=changed, **left)
    assert "all that was known is replaced since" in said
    assert place.read_by("alice")["smarthost_password"] == "new"
