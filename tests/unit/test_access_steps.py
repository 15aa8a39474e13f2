"""What is to be done, and in which order; and what is refused because nobody could mend it."""

from dataclasses import replace
from pathlib import Path

import pytest

from inventories.errors import InputError
from roles.gerrit.tools.access import accounts, groups, planning, projects
from roles.gerrit.tools.access.declared import Declared
from roles.gerrit.tools.access.found import Found, FoundAccount, FoundGroup, FoundProject
from roles.gerrit.tools.access.project_config import Config
from tests.gerrit_files import write_example
from tests.unit.test_access_declared import declared, load

ADMINS, SERVICE = "a" * 40, "5" * 40
SYSTEM = ("Anonymous Users", "Registered Users", "Project Owners")


def group(uuid: str, name: str, *members: str, **more: object) -> FoundGroup:
    numbers = {one: number for number, one in enumerate(members, 1)}
    return replace(FoundGroup(uuid, name, "", ADMINS, False, numbers, frozenset()), **more)  # type: ignore[arg-type]


def found(*more: FoundGroup, **of_projects: Config) -> Found:
    own = (group(ADMINS, "Administrators", "mainstay", description="Gerrit Site Administrators"), *more)
    there = {name: FoundProject(f"{number:040}", one) for number, (name, one) in enumerate(of_projects.items())}
    root = FoundProject("0" * 40, Config(frozenset(), (), {}))
    return Found(
        (3, 13, 5),
        True,
        {one.uuid: one for one in (group(SERVICE, "Service Users"), *own)},
        {name: f"global:{name.replace(' ', '-')}" for name in SYSTEM},
        {"mainstay": FoundAccount(1, {})},
        {"All-Projects": root, **there},
    )


@pytest.fixture
def example(tmp_path: Path) -> Declared:
    write_example(tmp_path)
    return load(tmp_path)


def secret(name: str) -> str:
    return f"value of {name}"


def test_nothing_is_used_before_it_is_there(example: Declared) -> None:
    about = [one.about for one in projects.steps(example, found())]
    assert about[-1] == "project All-Projects"
    for name in ("platform/build", "manifest"):
        assert about.index("project Calyx-Projects") < about.index(f"project {name}")
    made = {one.about for one in groups.made(example, found())}
    assert made == {"group core", "group release managers", "group verifiers", "group Blocked Users"}


def test_accounts_are_made_and_a_token_is_on_no_line_that_is_shown(example: Declared) -> None:
    steps = [*accounts.steps(example, found(), secret)]
    assert [one.about for one in steps] == ["person alice", "person bob", "bot ci"]
    assert "value of" not in " ".join(map(repr, steps)) + " ".join(map(str, steps))
    asked = {(one.method, one.path) for one in steps[-1].requests}
    assert {("PUT", "/accounts/ci/tokens/mainstay"), ("PUT", f"/groups/{SERVICE}/members/ci")} <= asked
    older = replace(found(), version=(3, 12, 0))
    assert ("PUT", "/accounts/ci/password.http") in {
        (one.method, one.path) for step in accounts.steps(example, older, secret) for one in step.requests
    }


def test_where_no_proxy_tells_who_somebody_is_accounts_of_people_are_waited_for(example: Declared) -> None:
    there = replace(found(), by_header=False)
    assert [one.about for one in accounts.steps(example, there, secret)] == ["bot ci"]
    assert not [word for one in groups.filled(example, there) for word in one.words if "alice" in word or "bob" in word]
    assert [*planning.notes(example, there)] == [
        "have not logged in yet, and get their groups by an apply afterwards: alice, bob"
    ]


def test_people_keep_keys_of_their_own_and_bots_do_not(tmp_path: Path) -> None:
    one = declared(tmp_path, "[bots.ci]")
    keys = {"ssh-ed25519 AAAA": 3}
    alice = " ".join(one.people["alice"].ssh_keys[0].split()[:2])
    there = found(group("e" * 40, "Service Users", "ci"))
    there = replace(
        there,
        groups={uuid: each for uuid, each in there.groups.items() if uuid != SERVICE},
        accounts={"alice": FoundAccount(2, {alice: 1, **keys}), "ci": FoundAccount(3, keys)},
    )
    steps = [*accounts.steps(one, there, secret)]
    assert [step.words for step in steps] == [("- ssh key ssh-ed25519 ...AAAA",)]
    assert [request.path for request in steps[0].requests] == ["/accounts/3/sshkeys/3"]


def test_members_are_whole_and_the_service_users_keep_declared_bots(tmp_path: Path) -> None:
    one = declared(tmp_path, '[groups.g]\nmembers = ["alice"]\n[groups."Service Users"]\n[bots.ci]')
    there = found(group("6" * 40, "g", "mallory", includes=frozenset({SERVICE})), group(SERVICE, "Service Users", "ci"))
    assert [step.words for step in groups.filled(one, there) if step.about == "group g"] == [("+ member alice",)]
    removed = {step.about: step.words for step in groups.emptied(one, there)}
    assert removed == {"group g": ("- member mallory", "- includes Service Users")}


def test_a_group_that_is_called_otherwise_is_renamed_back_where_it_is_known(tmp_path: Path) -> None:
    one = declared(tmp_path, '[groups.core]\nmembers = ["alice"]')
    there = found(group("c" * 40, "score", "alice"))
    seen, unseen = (groups.known(one, there, memory) for memory in ({"core": "c" * 40}, {}))
    known, unknown = ([*groups.made(one, each)] for each in (seen, unseen))
    assert known[0].words == ("~ is called 'score' there: renamed back",)
    assert known[0].requests[0].path == f"/groups/{'c' * 40}/name"
    assert [*groups.filled(one, seen)] == []
    assert unknown[0].words == ("+ group",)
    told = f"groups that are not there: core; not declared: score ({'c' * 40}); was one renamed?"
    assert [*planning.notes(one, there)] == [told]


ROOT = """
[groups.core]
members = ["alice"]
[groups.bots]
members = ["ci"]
[bots.ci]
[projects.All-Projects.capabilities]
administrateServer = ["Administrators"]
[projects.All-Projects.access."refs/*"]
read = ["Administrators"]
[projects.All-Projects.access."refs/meta/config"]
push = ["Administrators"]
"""
WITH_ALICE = '[groups.Administrators]\nmembers = ["alice"]\n'
LOCKED = {
    "nobody administers": ('administrateServer = ["Administrators"]', "", "mainstay"),
    "bots administer": ('administrateServer = ["Administrators"]', 'administrateServer = ["bots"]', "mainstay"),
    "a person's group alone": ('administrateServer = ["Administrators"]', 'administrateServer = ["core"]', "mainstay"),
    "no person": ('members = ["alice"]', 'members = ["ci"]', "no person"),
    "denied": ('["Administrators"]\n[projects', '["Administrators", "deny Registered Users"]\n[projects', "refused"),
    "no push": ('push = ["Administrators"]', "", "nothing grants push"),
    "push of others": ('push = ["Administrators"]', 'push = ["core"]', "nothing grants push"),
    "push denied": ('push = ["Administrators"]', 'push = ["Administrators", "deny Administrators"]', "denies push"),
    "push blocked": (
        "",
        '[projects.All-Projects.access."refs/meta/*"]\npush = ["block Registered Users"]',
        "blocks push",
    ),
    "no read": ('read = ["Administrators"]', "", "nothing grants read"),
    "exclusive": ('push = ["Administrators"]', 'push = ["Administrators"]\nexclusive = ["read"]', "read exclusive"),
    "exclusive below": (
        "",
        '[projects.p.access."^refs/meta/.*"]\nexclusive = ["push"]\npush = ["core"]',
        "push exclusive",
    ),
    "blocked below": ("", '[projects.p.access."refs/meta/*"]\nread = ["block Anonymous Users"]', "blocks read"),
}


@pytest.mark.parametrize("name", LOCKED)
def test_what_would_leave_nobody_to_mend_it_is_refused(tmp_path: Path, name: str) -> None:
    right = WITH_ALICE + ROOT
    planning.check_lockout(declared(tmp_path, right), found())
    old, new, told = LOCKED[name]
    wrong = right.replace(old, new, 1) if old else right + new
    assert wrong != right
    with pytest.raises(InputError, match=r"gerrit\.toml: ") as raised:
        planning.check_lockout(declared(tmp_path, wrong), found())
    assert told in raised.value.problem


def test_emptied_administrators_are_refused_also_where_they_include_others(tmp_path: Path) -> None:
    through = '[groups.Administrators]\nincludes = ["core"]\n' + ROOT
    planning.check_lockout(declared(tmp_path, through), found())
    with pytest.raises(InputError, match="no person"):
        planning.check_lockout(declared(tmp_path, "[groups.Administrators]\n" + ROOT), found())
    undeclared = ROOT.replace('members = ["alice"]', "", 1)
    with pytest.raises(InputError, match="no person"):
        planning.check_lockout(declared(tmp_path, undeclared), found())
