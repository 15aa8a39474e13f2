"""project.config: read as Gerrit reads it, compared by what it means, and written so that it is read as the same."""

import random

import pytest

from roles.gerrit.tools.access.config_file import Broken, Entry, parse, parse_groups, render, render_groups
from roles.gerrit.tools.access.declaration import Project
from roles.gerrit.tools.access.project_config import Config, read, wanted, written

UUID = "a" * 40
GROUPS = render_groups({"core": UUID, "Registered Users": "global:Registered-Users", "Notified": "b" * 40})
NAMES = {UUID: "core", "global:Registered-Users": "Registered Users"}


def test_every_entry_comes_back_as_it_was() -> None:
    chosen = random.Random(7)
    signs = "ab \t\n\\\"#;=[]'é^*${}"
    for _ in range(500):
        text = "".join(chosen.choice(signs) for _ in range(chosen.randrange(12)))
        name = "".join(chosen.choice(signs.replace("\n", "")) for _ in range(5))
        entry = Entry("access", name, "label-Code-Review", text)
        assert parse(render([entry])) == [entry], repr(text)


def test_what_jgit_reads_is_read() -> None:
    text = """; comment
    [PROJECT] description = "a # b" # rest
    [access "refs/heads/*"]
        label-Code-Review = -1..+1 group \\
core
    [receive]
        requireChangeId
    """
    assert parse(text) == [
        Entry("project", "", "description", "a # b"),
        Entry("access", "refs/heads/*", "label-Code-Review", "-1..+1 group core"),
        Entry("receive", "", "requireChangeId", "true"),
    ]


@pytest.mark.parametrize("text", ["a = b\n", "[x\n", "[a]\n= b\n", '[a "b]\nc = d\n'])
def test_what_is_no_such_text_is_told_with_its_line(text: str) -> None:
    with pytest.raises(Broken, match=r"line \d"):
        parse(text)


def config(text: str, project: str = "p") -> Config:
    return read(project, text, GROUPS)


SAME = {
    "order and blanks": ('[access "refs/*"]\nread = group core\nREAD = group Registered Users\n',) * 2,
    "defaults": ("", "[access]\ninheritFrom = All-Projects\n[project]\nstate = active\n[submit]\naction = INHERIT\n"),
    "state": ("[project]\nstate = READ_ONLY\n", "[project]\nstate = read only\n"),
    "votes": ('[label "L"]\nvalue =  0 None\nvalue = 1 Yes\n', '[label "L"]\nvalue = +1 Yes\nvalue = 0 None\n'),
    "label": ('[label "L"]\nvalue = 0 N\n', '[label "L"]\nvalue = 0 N\ndefaultValue = 0\nallowPostSubmit = yes\n'),
    "exclusive": (
        '[access "refs/*"]\nexclusiveGroupPermissions = read push\n',
        '[access "refs/*"]\nexclusiveGroupPermissions = push\nexclusiveGroupPermissions = READ\n',
    ),
    "option": ("", "[receive]\nrequireChangeId = INHERIT\n"),
    "range": ('[access "refs/*"]\nlabel-L = -1..1 group core\n', '[access "refs/*"]\nlabel-L = -1..+1 group core\n'),
}


@pytest.mark.parametrize("name", SAME)
def test_what_means_the_same_is_no_difference(name: str) -> None:
    one, other = SAME[name]
    assert config(one).entries == config(other).entries


def test_what_is_false_at_the_root_goes_without_saying_and_elsewhere_does_not() -> None:
    text = "[receive]\nrequireChangeId = false\n"
    assert config(text, "All-Projects").entries == frozenset()
    assert Entry("receive", "", "requireChangeId", "false") in config(text).entries


def test_what_is_written_is_read_as_what_was_declared_and_other_sections_stay() -> None:
    project = Project.model_validate(
        {
            "description": 'with "signs" # and \\',
            "options": {"receive.requireChangeId": True, "receive.maxObjectSizeLimit": "10m"},
            "access": {
                "refs/*": {"exclusive": ["push", "read"], "read": ["core"], "push": ["+force core", "block core"]},
                "refs/heads/*": {"label-L": ["-1..+1 Registered Users"]},
            },
            "labels": {"L": {"values": {"-1": "No", "0": "None", "+1": "Yes"}, "copy_condition": "is:MIN"}},
            "submit_requirements": {"S": {"submittable_if": "label:L=MAX"}},
        }
    )
    want = wanted("p", project, {"core": UUID, "Registered Users": "global:Registered-Users"}.__getitem__)
    before = config(
        '[plugin "x"]\n\ta = b\n[notify "n"]\n\temail = group Notified\n[access "refs/x"]\nread = group core\n'
    )
    text, groups = written(want, before, NAMES)
    after = read("p", text, groups)
    assert (after.entries, after.kept) == (want, before.kept)
    assert parse_groups(groups) == {"core": UUID, "Registered Users": "global:Registered-Users", "Notified": "b" * 40}
    assert written(want, after, NAMES) == (text, groups)
