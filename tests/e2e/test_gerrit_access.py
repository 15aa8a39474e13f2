"""Groups, projects and rights as code, on a real Gerrit: the README's example, drift, faults, and two at once."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping

import pytest

from roles.gerrit import secure
from roles.gerrit.tools.access import lock, reading
from roles.gerrit.tools.access.meta import Meta, Raced, meta, revision
from roles.gerrit.tools.rest import Refused
from tests.gerrit_access import BOT_TOKEN, Reviewed, ask, reviewed
from tests.gerrit_files import example
from tests.gerrit_site import HOST, gerrit_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """Nothing of the example is applied yet."""
    for saved in gerrit_site(tmp_path_factory.mktemp("gerrit")):
        yield reviewed(saved, saved.folder)


@pytest.fixture(scope="module")
def made(deployed: Reviewed) -> Reviewed:
    """As the example says."""
    assert deployed.run("plan")[0] == 52
    deployed.apply()
    return deployed


@pytest.fixture
def gerrit(made: Reviewed) -> Iterator[Reviewed]:
    """As the example says, however a test before left it."""
    made.file.write_text(example("gerrit.toml"))
    until("Gerrit answers", made.answers, timeout_s=120)
    if made.plan()["exit_code"]:
        made.apply()
    yield made
    made.file.write_text(example("gerrit.toml"))


def more(gerrit: Reviewed, text: str) -> None:
    gerrit.file.write_text(f"{example('gerrit.toml')}\n{text}\n")


def test_the_readmes_example_makes_an_empty_server_as_declared(made: Reviewed) -> None:
    told = made.plan()
    assert (told["exit_code"], told["differences"], told["undeclared"]["projects"]) == (0, [], [])
    assert len(told["expectations"]) == 4
    # Another machine, which has seen nothing of it, agrees.
    assert made.plan(state=made.state / "another")["exit_code"] == 0
    with made.server() as server:
        accounts = {
            one["username"]: one["_account_id"] for one in ask(server, "GET", "/accounts/?q=is:active&o=DETAILS")
        }
        assert {"lab", "alice", "bob", "ci", "mainstay"} <= {*accounts}
        assert server.takes("ci", made.site.secrets[BOT_TOKEN].get_secret_value())
        access = ask(server, "GET", "/projects/Protected-Projects/access")["local"]["refs/*"]["permissions"]["read"]
        assert access["exclusive"]
        assert ask(server, "GET", "/projects/manifest/HEAD") == "refs/heads/android16"
        assert ask(server, "GET", "/projects/manifest/config")["submit_type"] == "FAST_FORWARD_ONLY"
        keys = ask(server, "GET", "/accounts/ci/sshkeys")
        assert [one["comment"] for one in keys] == ["ci"]
    # The account that was made for bob is bob's, when the proxy says that it is bob.
    assert made.logs_in("bob") == accounts["bob"]


def test_what_was_changed_behind_our_back_is_told_and_mended(gerrit: Reviewed) -> None:
    with gerrit.server() as server:
        core = ask(server, "GET", "/groups/core")["id"]
        grant = {"permissions": {"push": {"rules": {core: {"action": "ALLOW", "force": True}}}}}
        ask(server, "POST", "/projects/manifest/access", {"add": {"refs/heads/*": grant}})
        ask(server, "PUT", "/projects/manifest/config", {"description": "Mine", "require_change_id": "FALSE"})
        ask(server, "PUT", "/groups/verifiers/members/bob")
        ask(server, "PUT", "/groups/release%20managers/name", {"name": "managers"})
        ask(server, "DELETE", "/projects/All-Projects/labels/Verified")
        ask(server, "PUT", "/projects/by-hand", {})
        ask(server, "PUT", "/groups/by%20hand", {})
    found = gerrit.differences()
    assert found["project manifest"] == [
        "- refs/heads/*: push +force core",
        "- project.description: Mine",
        "- receive.requireChangeId: false",
    ]
    assert found["group verifiers"] == ["- member bob"]
    assert found["group release managers"] == ["~ is called 'managers' there: renamed back"]
    assert found["project All-Projects"][0].startswith("+ label Verified: ")
    assert {*found} == {"project manifest", "group verifiers", "group release managers", "project All-Projects"}
    unseen = gerrit.plan(state=gerrit.state / "fresh")
    assert any("not there: release managers" in one and "managers (" in one for one in unseen["notes"])
    gerrit.apply()
    told = gerrit.plan()
    assert told["differences"] == []
    assert "by-hand" in told["undeclared"]["projects"]
    assert "by hand" in told["undeclared"]["groups"]
    with gerrit.server() as server:
        assert ask(server, "GET", "/groups/release%20managers")["id"]
        assert "refs/heads/*" not in ask(server, "GET", "/projects/manifest/access")["local"]


def test_a_group_that_is_gone_is_made_anew_with_its_members_and_rules(gerrit: Reviewed) -> None:
    with gerrit.server() as server:
        before = ask(server, "GET", "/groups/verifiers")["id"]
        ask(server, "PUT", "/groups/verifiers/name", {"name": "gone"})
    # Gerrit deletes none unless it is told that it may. Of a machine that has not seen it, this one is gone.
    code, out, errors = gerrit.run("apply", "--yes", state=gerrit.state / "unseen")
    assert code == 0, out + errors
    with gerrit.server() as server:
        after = ask(server, "GET", "/groups/verifiers/detail")
        assert after["id"] != before
        assert [one["username"] for one in after["members"]] == ["ci"]
        rules = ask(server, "GET", "/projects/All-Projects/access")["local"]["refs/heads/*"]["permissions"]
        assert {*rules["label-Verified"]["rules"]} == {after["id"]}


def test_what_locks_everybody_out_is_refused_and_changes_nothing(gerrit: Reviewed) -> None:
    text = f"{example('gerrit.toml')}\n[groups.late]\n"
    with gerrit.server() as server:
        before = reading.revisions(server)
        for old, new in (
            ('administrateServer = ["Administrators"]', 'administrateServer = ["core"]'),
            ('push = ["Administrators"]', 'push = ["core"]'),
            ('members = ["@admins"]  ', "members = []  "),
        ):
            assert old in text
            gerrit.file.write_text(text.replace(old, new))
            code, out, errors = gerrit.run("apply", "--yes")
            assert (code, out) == (2, ""), errors
            assert "nothing was changed: this would leave nobody to mend it" in errors
        assert reading.revisions(server) == before
        assert server.get("/groups/late") is None


def test_an_expectation_that_does_not_hold_fails(gerrit: Reviewed) -> None:
    more(gerrit, '[[expect]]\naccount = "ci"\nproject = "manifest"\npermission = "read"\nallowed = false')
    code, out, _ = gerrit.run("plan")
    assert code == 52
    assert "ci may not read refs/heads/main of manifest: is allowed" in out
    assert gerrit.run("apply", "--yes")[0] == 1


MANY = "\n".join(f'[groups.many{number:02}]\nmembers = ["bob"]' for number in range(30))
MANY += '\n[sets.many]\nparent = "Calyx-Projects"\nnames = ['
MANY += ", ".join(f'"many/{number:02}"' for number in range(30)) + "]"


@pytest.mark.full
def test_killed_wherever_it_is_run_again_it_comes_to_the_same_end(gerrit: Reviewed) -> None:
    more(gerrit, f'{MANY}\n[bots.late]\ntoken = "{BOT_TOKEN}"')
    with gerrit.server() as server:
        points: list[Callable[[], object]] = [
            lambda: server.get("/accounts/late"),
            lambda: server.get("/groups/many12"),
            lambda: server.get("/groups/many20/members/bob"),
            lambda: server.get("/projects/many%2F05"),
            lambda: server.get("/projects/many%2F20"),
        ]
        for reached in points:
            with gerrit.begin("apply", "--yes") as process:
                until("it is there", reached, timeout_s=120, every_s=0.02)
                os.killpg(process.pid, signal.SIGKILL)
        assert gerrit.plan()["exit_code"] == 52
        gerrit.apply()
        told = gerrit.plan()
        assert (told["exit_code"], told["differences"]) == (0, [])
        # More than the 25 that lists give by themselves.
        assert len([name for name in reading.revisions(server) if name.startswith("many/")]) == 30
        assert [one["username"] for one in ask(server, "GET", "/groups/many29/members")] == ["bob"]


def test_of_two_at_once_one_does_it_and_the_other_says_so(gerrit: Reviewed) -> None:
    more(gerrit, '[groups.twice]\nmembers = ["bob"]')
    with lock.alone(gerrit.site):
        code, _, errors = gerrit.run("apply", "--yes")
    assert code == 1
    assert "another apply is under way" in errors
    both = [gerrit.begin("apply", "--yes") for _ in range(2)]
    said = [process.communicate() for process in both]
    assert 0 in [process.returncode for process in both]
    for process, (out, errors) in zip(both, said, strict=True):
        assert process.returncode == 0 or "another apply is under way" in errors, out + errors
    assert gerrit.plan()["exit_code"] == 0


class Overtaken(Meta):
    """Somebody else writes after it has read, before it pushes."""

    def _commit(self, before: str, files: Mapping[str, str], message: str) -> str:
        ask(self._server, "PUT", "/projects/manifest/config", {"description": "Written between"})
        return super()._commit(before, files, message)


def test_what_somebody_else_wrote_meanwhile_is_not_written_over(gerrit: Reviewed) -> None:
    with gerrit.way() as way, meta(way.server, way.scratch) as repository:
        before = revision(way.server, "manifest")
        ask(way.server, "PUT", "/projects/manifest/config", {"description": "Written meanwhile"})
        now = revision(way.server, "manifest")
        with pytest.raises(Raced):
            repository.write("manifest", before, {"project.config": "[project]\n"}, "Too late")
        assert revision(way.server, "manifest") == now != before
        with pytest.raises(Raced):
            Overtaken(repository._git, way.server).write("manifest", now, {"project.config": "[project]\n"}, "Too late")
        assert ask(way.server, "GET", "/projects/manifest/description") == "Written between"
        now = revision(way.server, "manifest")
        wrong = '[submit-requirement "x"]\n\tsubmittableIf = nonsense:\n'
        with pytest.raises(Refused, match=r"does not take its configuration: .*nonsense"):
            repository.write("manifest", now, {"project.config": wrong}, "Wrong")
        assert revision(way.server, "manifest") == now


def test_without_anybody_to_ask_nothing_is_changed(gerrit: Reviewed) -> None:
    more(gerrit, "[groups.unasked]")
    code, out, errors = gerrit.run("apply")
    assert code == 2
    assert "+ group" in out
    assert "--yes" in errors
    assert gerrit.run("apply", "--dry")[0] == 52
    with gerrit.server() as server:
        assert server.get("/groups/unasked") is None


def test_a_wrong_token_is_told(gerrit: Reviewed) -> None:
    right = gerrit.site.secrets[secure.TOKEN].get_secret_value()
    try:
        gerrit.set_secret(secure.TOKEN, "wrong" * 8)
        code, _, errors = gerrit.run("plan")
    finally:
        gerrit.set_secret(secure.TOKEN, right)
    assert code == 1
    assert "does not take the token of mainstay" in errors


@pytest.mark.full
def test_a_server_that_goes_down_meanwhile_is_told_with_what_was_done(gerrit: Reviewed) -> None:
    more(gerrit, "\n".join(f"[groups.down{number:03}]" for number in range(150)))
    with gerrit.server() as server, gerrit.begin("apply", "--yes") as process:
        until("it is under way", lambda: server.get("/groups/down001"), timeout_s=120, every_s=0.02)
        gerrit.saved.root(HOST, "systemctl stop gerrit")
        out, errors = process.communicate()
    assert process.returncode == 3, out + errors
    assert "done until then: " in errors
    assert "group down000: + group" in errors
    code, _, errors = gerrit.run("plan")
    assert code == 3
    assert "Gerrit does not answer" in errors
    gerrit.saved.root(HOST, "systemctl start gerrit")
    begun = [f"down{number:03}" for number in range(3)]
    more(gerrit, "\n".join(f'[groups.{name}]\nmembers = ["bob"]' for name in begun))
    gerrit.apply()
    assert gerrit.plan()["exit_code"] == 0
