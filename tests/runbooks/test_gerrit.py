"""Runbooks of Gerrit, followed to the letter on one that has content and a backup."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup import custody
from roles.gerrit import secure
from roles.gerrit.tools.rest import part
from roles.gerrit.tools.restore import Gerrit, values
from tests import directory
from tests.e2e.test_gerrit_auth import ALICE, ALICE_HASHED, LDAP, by_form, by_password, log_in_by
from tests.gerrit_access import BOT_TOKEN, Reviewed, ask, reviewed
from tests.gerrit_client import administrator, changes
from tests.gerrit_content import fill
from tests.gerrit_site import HOST, gerrit_site
from tests.runbooks.reader import editing, follow
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
DATA, SITE, PROJECT = f"{HOST}:gerrit", "/srv/gerrit/site", "tools/one"
OF = {"host": HOST}
NEW_TOKEN = "another-token-of-the-lab-0123456789-abcdefgh"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with pytest.MonkeyPatch.context() as patched:
        for saved in gerrit_site(tmp_path_factory.mktemp("gerrit")):
            gerrit = reviewed(saved, saved.folder)
            patched.setenv("XDG_STATE_HOME", str(gerrit.state))
            fill(saved)
            gerrit.apply()
            saved.must("run", DATA)
            saved.must("copy", DATA)
            saved.must("verify", DATA, "--all")
            yield gerrit


@pytest.fixture
def gerrit(made: Reviewed) -> Iterator[Reviewed]:
    """It answers before and afterwards, and all is well."""
    yield made
    until("Gerrit answers", made.answers, timeout_s=120)
    made.saved.must("status")


def files(gerrit: Reviewed) -> Path:
    return gerrit.site.files


def read(gerrit: Reviewed, project: str) -> dict[str, str]:
    """Its refs, as they are on the disk."""
    with administrator(gerrit.saved) as admin:
        return values(admin, project)


def test_a_new_project(gerrit: Reviewed) -> None:
    editor = editing(gerrit.saved.folder, 'sed -i \'s|^names = \\["platform/build"|&, "platform/new"|\' "$1"')
    names = {**OF, "files": files(gerrit), "project": "platform/new"}
    said = follow(gerrit.saved, "gerrit-new-project", "Declare it", "Make it", editor=editor, **names)
    assert "project platform/new" in said
    assert "all is as gerrit.toml declares it" in said
    assert said.rstrip().endswith("refs/meta/config")


def test_a_new_person(gerrit: Reviewed) -> None:
    editor = editing(
        gerrit.saved.folder,
        "case $1 in\n"
        '*/people.toml) printf \'[people.carol]\\nfull_name = "Carol"\\nemail = "carol@example.org"\\n\' >>"$1" ;;\n'
        '*/gerrit.toml) sed -i \'s/^members = \\["@admins", "bob"\\]/members = ["@admins", "bob", "carol"]/\' "$1" ;;\n'
        f"*/{gerrit.saved.inventory.stem}.toml) cat >>\"$1\" <<'EOF'\n"
        '[settings.gerrit.auth]\ntype = "http"\npasswords = "gerrit_passwords"\n'
        'people.carol = { name = "Carol", email = "carol@example.org" }\nEOF\n;;\n'
        f'*) echo \'gerrit_passwords = "carol:{ALICE_HASHED}"\' >>"$1" ;;\nesac',
    )
    names: dict[str, Any] = {**OF, "files": files(gerrit)}
    titles = ("Declare her", "Make it so", "Her password, where nginx asks for it")
    said = follow(gerrit.saved, "gerrit-new-person", *titles, editor=editor, **names)
    assert "+ member carol" in said
    assert "gerrit_passwords: added" in said
    carol = by_password(gerrit.saved, "carol", ALICE)
    assert carol.told("/accounts/self/detail")["username"] == "carol"
    assert "core" in {one["name"] for one in carol.told("/accounts/self/groups")}


@pytest.mark.full
def test_a_new_person_of_a_directory(gerrit: Reviewed) -> None:
    site = gerrit.site
    gerrit.set_secret("gerrit_directory", directory.PASSWORD)
    pem = directory.start(gerrit.saved, HOST, {"dora": "of dora"}, developers=("dora",))
    directory.trust(gerrit.saved, HOST, pem)
    log_in_by(gerrit.saved, LDAP)
    editor = editing(
        gerrit.saved.folder,
        "case $1 in\n"
        '*/people.toml) printf \'[people.dora]\\nfull_name = "Dora"\\nemail = "dora@example.org"\\n\' >>"$1" ;;\n'
        '*) sed -i \'s/^members = \\["ci"\\]/members = ["ci", "dora"]/\' "$1" ;;\nesac',
    )
    names: dict[str, Any] = {**OF, "files": site.files}
    said = follow(gerrit.saved, "gerrit-new-person", "Declare her", "Make it so", editor=editor, **names)
    assert "dora" in said
    dora = by_form(gerrit.saved, "dora", "of dora")
    title = "With a directory, once she has logged in"
    assert "+ member dora" in follow(gerrit.saved, "gerrit-new-person", title, **names)
    assert "verifiers" in {one["name"] for one in dora.told("/accounts/self/groups")}


def administers(gerrit: Reviewed, token: str) -> bool:
    with gerrit.server() as server:
        return server.takes(secure.ACCOUNT, token)


@pytest.mark.full
def test_the_token_is_known_to_somebody_else(gerrit: Reviewed) -> None:
    old = secure.token(gerrit.site).get_secret_value()
    editor = editing(gerrit.saved.folder, f'sed -i \'s/^gerrit_token = .*/gerrit_token = "{NEW_TOKEN}"/\' "$1"')
    said = follow(gerrit.saved, "gerrit-token-lost", "Somebody else may know it", editor=editor, **OF)
    assert "gerrit_token: changed" in said
    assert '"username":"lab"' in said.replace(" ", "")
    assert [administers(gerrit, one) for one in (old, NEW_TOKEN)] == [False, True]


@pytest.mark.full
def test_the_token_is_not_taken(gerrit: Reviewed) -> None:
    with administrator(gerrit.saved) as admin:
        ask(admin.server, "DELETE", "/accounts/self/tokens/mainstay")
    code, out, errors = gerrit.run("plan")
    assert code == 1, out + errors
    assert "does not take the token" in errors
    follow(gerrit.saved, "gerrit-token-lost", "Gerrit does not take it", **OF)
    assert gerrit.run("plan")[0] == 0


def test_the_token_of_a_bot(gerrit: Reviewed) -> None:
    editor = editing(gerrit.saved.folder, f'sed -i \'s/^{BOT_TOKEN} = .*/{BOT_TOKEN} = "{NEW_TOKEN}"/\' "$1"')
    follow(gerrit.saved, "gerrit-token-lost", "A bot's", editor=editor, **OF)
    with gerrit.server() as server:
        assert server.takes("ci", NEW_TOKEN)


@pytest.mark.full
def test_what_gerrit_keeps_in_mind_is_no_longer_so(gerrit: Reviewed) -> None:
    with administrator(gerrit.saved) as admin:
        config = ("--git-dir", admin.place(PROJECT), "update-ref", "refs/meta/config")
        ask(admin.server, "PUT", f"/projects/{part(PROJECT)}/description", {"description": "before"})
        before = values(admin, PROJECT)["refs/meta/config"]
        ask(admin.server, "PUT", f"/projects/{part(PROJECT)}/description", {"description": "stale"})
        admin.git(*config, before)
        assert ask(admin.server, "GET", f"/projects/{part(PROJECT)}")["description"] == "stale"
        follow(gerrit.saved, "gerrit-cache-broken", "Look", "It shows what is no longer so", **OF, site=SITE)
        assert ask(admin.server, "GET", f"/projects/{part(PROJECT)}")["description"] == "before"


@pytest.mark.full
def test_a_cache_and_the_index_are_broken(gerrit: Reviewed) -> None:
    spoil = "find . -type f -exec sh -c 'head -c 5000 /dev/urandom >\"$1\"' sh {} \\;"
    with administrator(gerrit.saved) as admin:
        known = {*changes(admin, "is:open")}
    assert len(known) == 3
    gerrit.saved.root(HOST, f"systemctl stop gerrit; cd {SITE}/cache; {spoil}; touch spoiled; cd ../index; {spoil}")
    said = follow(gerrit.saved, "gerrit-cache-broken", "The index is broken", "A cache is broken", **OF, site=SITE)
    assert "active (running)" in said
    with administrator(gerrit.saved) as admin:
        assert {*changes(admin, "is:open")} == known
    assert "spoiled" not in gerrit.saved.root(HOST, f"ls {SITE}/cache").split()


def corrupt(gerrit: Reviewed, copy: str) -> dict[str, Any]:
    """The names of the page, of what is whole until now."""
    gerrit.saved.must("run", DATA)
    snapshot = json.loads(gerrit.saved.must("restic", DATA, "snapshots", "--json"))[-1]["id"]
    return {**OF, "project": PROJECT, "copy": copy, "snapshot": snapshot, "git": f"{SITE}/git"}


@pytest.mark.full
def test_objects_of_a_repository_are_missing(gerrit: Reviewed) -> None:
    names, before = corrupt(gerrit, "objects-restored"), read(gerrit, PROJECT)
    place = f"{SITE}/git/{PROJECT}.git"
    gerrit.saved.root(
        HOST, f"cd {place}/objects; rm -f pack/*; find ?? -type f -exec sh -c 'echo x >\"$1\"' sh {{}} \\;"
    )
    titles = ("Look", "A copy of before", "Objects are missing", "When it is whole")
    said = follow(gerrit.saved, "gerrit-repository-corrupt", *titles, **names)
    assert "invalid sha1 pointer" in said or "missing" in said
    assert said.rstrip().endswith("all is well")
    assert read(gerrit, PROJECT) == before
    with administrator(gerrit.saved) as admin:
        ask(admin.server, "GET", f"/projects/{part(PROJECT)}/commits/{before['refs/heads/main']}")
        assert reads_every_change(admin)
    git = f"git -c safe.directory='*' --git-dir {place}"
    assert "corrupt" not in gerrit.saved.root(HOST, f"{git} fsck --full 2>&1 || true")


def reads_every_change(admin: Gerrit) -> bool:
    """Down to the files of each."""
    return all(
        ask(admin.server, "GET", f"/changes/{one}/revisions/current/files/") for one in changes(admin, "is:open")
    )


@pytest.mark.full
def test_refs_of_a_repository_are_spoiled(gerrit: Reviewed) -> None:
    names, before = corrupt(gerrit, "unused"), read(gerrit, PROJECT)
    gerrit.saved.root(HOST, f"cd {SITE}/git/{PROJECT}.git; echo half a li >packed-refs")
    told = gerrit.saved.mainstay("run", DATA)
    assert f"{PROJECT}.git: packed-refs: is no list of refs" in told.stdout + told.stderr
    titles = ("Look", "Its refs are spoiled", "When it is whole")
    said = follow(gerrit.saved, "gerrit-repository-corrupt", *titles, **names)
    assert said.rstrip().endswith("all is well")
    assert read(gerrit, PROJECT) == before
    with administrator(gerrit.saved) as admin:
        assert len(changes(admin, "is:open")) == 3
        assert reads_every_change(admin)
    gerrit.saved.root(HOST, "rm -r /srv/gerrit/.before")


@pytest.mark.full
def test_a_change_and_a_branch_were_deleted(gerrit: Reviewed, tmp_path: Path) -> None:
    gerrit.saved.must("run", DATA)
    before = read(gerrit, PROJECT)
    with administrator(gerrit.saved) as admin:
        change = min(changes(admin, "is:open"))
        for ref in before:
            if f"/{change}/" in ref:
                admin.git("--git-dir", admin.place(PROJECT), "update-ref", "-d", ref)
        assert admin.server.get(f"/changes/{part(PROJECT)}~{change}") is None
        names: dict[str, Any] = {**OF, "project": PROJECT, "snapshot": "latest"}
        titles = ("What it was", "Bring it back")
        said = follow(
            gerrit.saved, "gerrit-restore-a-ref", *titles, **names, change=change, ref="", work=tmp_path / "a"
        )
        assert "/meta of tools/one: none -> " in said
        assert ask(admin.server, "GET", f"/changes/{part(PROJECT)}~{change}")["status"] == "NEW"
        admin.git("--git-dir", admin.place(PROJECT), "update-ref", "-d", "refs/heads/main")
        branch: dict[str, Any] = {"change": "", "ref": "refs/heads/main", "work": tmp_path / "b"}
        follow(gerrit.saved, "gerrit-restore-a-ref", *titles, **names, **branch)
    assert read(gerrit, PROJECT) == before


@pytest.mark.full
def test_a_whole_site_is_restored(gerrit: Reviewed) -> None:
    gerrit.saved.must("run", DATA)
    before = read(gerrit, PROJECT)
    keys = gerrit.saved.root(HOST, f"cat {SITE}/etc/ssh_host_*.pub")
    gerrit.saved.root(HOST, f"systemctl stop gerrit; rm -r {SITE}/git {SITE}/etc/ssh_host_* {SITE}/data/lfs")
    titles = ("Fetch it beside the data", "Put it in the place of the data", "When all is as it should be")
    names = {**OF, "role": "gerrit", "root": "/srv/gerrit", "paths": "site", "halts": "gerrit"}
    said = follow(gerrit.saved, "restore-a-whole-data-set", *titles, **names)
    assert "all is well" in said
    assert read(gerrit, PROJECT) == before
    assert gerrit.saved.root(HOST, f"cat {SITE}/etc/ssh_host_*.pub") == keys
    assert gerrit.saved.root(HOST, f"find {SITE}/data/lfs -type f")
    with administrator(gerrit.saved) as admin:
        assert len(changes(admin, "is:open")) == 3
    assert gerrit.run("plan")[0] == 0
    assert {path.split("/")[0] for path in custody.recovery("gerrit").paths} == {"site"}


def page(gerrit: Reviewed, title: str, change: str) -> str:
    """change: of what the inventory says of the host, as `own`, in Python."""
    program = f"""
import pathlib, sys, tomlkit
path = pathlib.Path(sys.argv[1])
document = tomlkit.parse(path.read_text())
hosts, own = document["hosts"], document["hosts"].get("{HOST}")
{change}
path.write_text(tomlkit.dumps(document))
"""
    editor = editing(gerrit.saved.folder, f'{sys.executable} -c {shlex.quote(program)} "$1"')
    return follow(gerrit.saved, "gerrit-move-to-a-bigger-host", title, editor=editor, **OF)


@pytest.mark.full
def test_more_room_and_a_larger_machine(gerrit: Reviewed) -> None:
    before = read(gerrit, PROJECT)
    page(gerrit, "More room", "for volume in own['volumes'].values(): volume['size_gb'] = 12")
    size = int(gerrit.saved.root(HOST, "df --output=size --block-size=1G /srv/gerrit | tail -1"))
    assert size == 12
    page(gerrit, "More memory and processors", "own['plan'] = 'vc2-4c-8gb'")
    assert read(gerrit, PROJECT) == before


@pytest.mark.full
def test_another_machine_has_the_volume_of_the_old_one(gerrit: Reviewed) -> None:
    before, old = read(gerrit, PROJECT), gerrit.saved.machine(HOST)
    keys = gerrit.saved.root(HOST, f"cat {SITE}/etc/ssh_host_*.pub")
    page(gerrit, "Another machine, and its volume comes along", f"del hosts['{HOST}']")
    page(gerrit, "Its successor", "own['plan'] = 'vc2-2c-4gb'")
    assert gerrit.saved.machine(HOST) != old
    assert read(gerrit, PROJECT) == before
    assert gerrit.saved.root(HOST, f"cat {SITE}/etc/ssh_host_*.pub") == keys
