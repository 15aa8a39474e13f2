"""gerrit.toml: what is wrong with it is told by file and field, and what is right says all that is to be there."""

from pathlib import Path

import pytest

from inventories.admins import load_admins
from inventories.errors import InputError
from roles.gerrit.tools.access import loading, words
from roles.gerrit.tools.access.declared import Declared
from tests.gerrit_files import write_example

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@laptop"
ADMINS = f'[admins.alice]\nfull_name = "Alice Example"\nssh_keys = ["{KEY}"]\n'


def load(folder: Path) -> Declared:
    (folder / "admins.toml").write_text(ADMINS)
    return loading.load(folder, load_admins(folder / "admins.toml"), "mainstay")


def declared(folder: Path, text: str) -> Declared:
    (folder / "gerrit.toml").write_text(text)
    return load(folder)


def test_the_readmes_example_is_right_and_complete(tmp_path: Path) -> None:
    write_example(tmp_path)
    found = load(tmp_path)
    assert found.members("Administrators") == {"alice", "mainstay"}
    assert found.with_included("release managers") == {"alice", "bob"}
    assert found.people["alice"].email == "alice@example.org"
    assert found.people["alice"].ssh_keys == (KEY,)
    assert found.above("platform/external") == ["platform/external", "Calyx-Projects", "All-Projects"]
    first = found.parents_first()
    assert all(first.index(found.above(name)[1]) < first.index(name) for name in first if name != "All-Projects")
    assert found.projects["platform/external"] == found.projects["platform/build"]


PROJECT = "[projects.a]\n"
LABEL = '[projects.All-Projects.labels.Verified]\nvalues = { "-1" = "No", "0" = "None", "+1" = "Yes" }\n'
WRONG = {
    "unknown group": (PROJECT + 'access."refs/*".read = ["nobody"]', "projects.a.access.refs/*.read", "no group"),
    "unknown member": ('[groups.g]\nmembers = ["zoe"]', "groups.g.members", "nobody is called 'zoe'"),
    "unknown owner": ('[groups.g]\nowner = "h"', "groups.g.owner", "no group 'h'"),
    "unknown included": ('[groups.g]\nincludes = ["h"]', "groups.g.includes", "no group 'h'"),
    "unknown label": (PROJECT + 'access."refs/*".label-X = ["-1..+1 Registered Users"]', "label-X", "no label 'X'"),
    "votes missing": (LABEL + PROJECT + 'access."refs/*".label-Verified = ["Registered Users"]', "a", "which votes"),
    "votes too far": (LABEL + PROJECT + 'access."refs/*".label-Verified = ["-2..+1 Project Owners"]', "a", "-1..+1"),
    "label without 0": (PROJECT + 'labels.L.values = { "-1" = "a", "+1" = "b" }', "labels.L", "0"),
    "label of letters": (PROJECT + 'labels.L.values = { "a" = "a", "0" = "b" }', "labels.L", "no number"),
    "unknown permission": (PROJECT + 'access."refs/*".reed = ["Registered Users"]', "reed", "addPatchSet"),
    "unknown exclusive": (PROJECT + 'access."refs/*".exclusive = ["reed"]', "exclusive", "no such permission"),
    "unknown capability": ("[projects.All-Projects.capabilities]\nfly = []", "capabilities.fly", "administrateServer"),
    "capability elsewhere": (PROJECT + "capabilities.streamEvents = []", "streamEvents", "global"),
    "unknown option": (PROJECT + 'options = { "receive.x" = true }', "options.receive.x", "receive.requireChangeId"),
    "broken expression": (PROJECT + 'access."^refs/heads/(".read = []', "^refs/heads/(", "no regular expression"),
    "expression elsewhere": (PROJECT + 'access."^.*".read = []', "^.*", "begins with ^refs/"),
    "no ref": (PROJECT + "access.heads.read = []", "access.heads", "no pattern"),
    "star inside": (PROJECT + 'access."refs/*/x".read = []', "refs/*/x", "no pattern"),
    "ref with a blank": (PROJECT + 'access."refs/a b".read = []', "refs/a b", "no pattern"),
    "unknown parent": (PROJECT + 'parent = "b"', "projects.a.parent", "no project 'b'"),
    "circle": (
        '[projects.a]\nparent = "b"\n[projects.b]\nparent = "c"\n[projects.c]\nparent = "b"',
        "parent",
        "b -> c -> b",
    ),
    "own parent": (PROJECT + 'parent = "a"', "projects.a.parent", "a -> a"),
    "parent of the root": ('[projects.All-Projects]\nparent = "a"', "All-Projects.parent", "has none"),
    "All-Users": ("[projects.All-Users]", "projects.All-Users", "Gerrit's own"),
    "case of projects": ("[projects.a]\n[projects.A]", "projects.A", "'a'"),
    "case of sets": ('[projects.a]\n[sets.s]\nnames = ["A"]', "sets.s", "projects.a"),
    "twice in sets": ('[sets.s]\nnames = ["x"]\n[sets.t]\nnames = ["x"]', "sets.t", "sets.s"),
    "case of groups": ("[groups.g]\n[groups.G]", "groups.G", "case"),
    "no such list": ('[sets.s]\nfile = "none.txt"', "sets.s.file", "none.txt"),
    "case of accounts": ("[bots.Alice]", "bots.Alice", "declared as people.alice"),
    "number for a name": ("[bots.1000001]", "bots.1000001", "name of an account"),
    "our own account": ("[bots.mainstay]", "bots.mainstay", "account of this program"),
    "system's group": ('[groups."Registered Users"]', "groups.Registered Users", "name of a group"),
    "group like a rule": ('[groups."block all"]', "groups.block all", "name of a group"),
    "group with a quote": ("[groups.'a\"b']", "groups", "name of a group"),
    "no such key": (PROJECT + "colour = 1", "projects.a.colour", "no such key"),
    "submit type": (PROJECT + 'submit_type = "REBASE"', "projects.a.submit_type", "rebase always"),
    "state": (PROJECT + 'state = "gone"', "projects.a.state", "read only"),
    "expected of nobody": (
        '[[expect]]\nproject = "a"\npermission = "read"\nallowed = true',
        "expect.0",
        "one of the two",
    ),
    "expected of a stranger": (
        PROJECT + '[[expect]]\naccount = "zoe"\nproject = "a"\npermission = "read"\nallowed = true',
        "expect.0.account",
        "'zoe'",
    ),
    "expected permission": (
        PROJECT + '[[expect]]\naccount = "alice"\nproject = "a"\npermission = "submit"\nallowed = true',
        "expect.0.permission",
        "forgeAuthor",
    ),
    "expected of none in it": (
        '[groups.g]\n[projects.a]\n[[expect]]\ngroup = "g"\nproject = "a"\npermission = "read"\nallowed = true',
        "expect.0.group",
        "no member",
    ),
    "not TOML": ("[projects", "", "not TOML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_by_file_and_field(tmp_path: Path, name: str) -> None:
    text, field, told = WRONG[name]
    with pytest.raises(InputError) as raised:
        declared(tmp_path, text)
    assert raised.value.file == str(tmp_path / "gerrit.toml")
    assert field in raised.value.field
    assert told in str(raised.value)


def test_what_admins_toml_says_of_an_admin_stands_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "people.toml").write_text('[people.alice]\nfull_name = "Another"\n')
    with pytest.raises(InputError, match=r"people.toml: people.alice.full_name: is said by admins.toml"):
        declared(tmp_path, "")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "a ",
        "../a",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        ".",
        "a.git",
        "a/b.git/c",
        "a\nb",
        "a:b",
        "-x",
        "a\\b",
        "a\0",
    ],
)
def test_names_that_would_lead_elsewhere_are_none(name: str) -> None:
    assert words.project_problem(name)


@pytest.mark.parametrize(
    "ref", ["refs/*", "refs/heads/*", "refs/heads/a.b", "refs/heads/${username}/*", "^refs/heads/v[0-9]+"]
)
def test_patterns_that_gerrit_takes_are_taken(ref: str) -> None:
    assert words.ref_problem(ref) == ""
