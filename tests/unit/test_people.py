"""`mainstay admin`: who comes reads the secrets, who goes does not, and nobody forgets what somebody who left knows."""

import json
from pathlib import Path

import pytest
from pyrage import x25519

from inventories import departed, editing, identities, secrets
from inventories.errors import InputError
from inventories.secrets import stale
from tests.people_site import ADMINS, VALUES, Place, killed, made, opened, public, security_key

AGE = str(x25519.Identity.generate().to_public())


@pytest.fixture(scope="module")
def folk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for name in ("alice", "bob", "carol"):
        made(folder, name)
    made(folder, "rsa", "rsa", "-b", "2048")
    made(folder, "ecdsa", "ecdsa")
    security_key(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, folk: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv(identities.VARIABLE, str(folk / "alice"))
    monkeypatch.setenv("MAINSTAY_INVENTORY", str(tmp_path / "site.toml"))
    return Place(tmp_path, folk)


def _refused(place: Place, *words: object) -> InputError:
    before = place.content()
    error = place.admin(*words).exception
    assert isinstance(error, InputError), error
    assert place.content() == before
    return error


def test_who_is_added_reads_every_secret_and_is_told_with_what_to_deploy(place: Place, folk: Path) -> None:
    done = place.admin("add", "carol", "--key", folk / "carol.pub", "--roles", "web,release")
    assert done.exit_code == 0, done.output
    assert "carol: an admin on hosts of the roles web, release, by SHA256:" in done.output
    assert "2 secrets can now be read by carol too" in done.output
    assert f"$ pyinfra {place.inventory.with_suffix('.py')} deploys/base.py\n" in done.output
    assert place.read_by("carol") == place.read_by("bob") == VALUES
    assert not place.departed.exists()
    assert place.site.admins.admins["carol"].roles == ("web", "release")


def test_a_publisher_reads_no_secret_and_comes_by_a_security_key_too(place: Place, folk: Path) -> None:
    before = place.secrets.read_bytes()
    words = ("add", "carol", "--key", folk / "token.pub", "--roles", "release", "--publisher")
    done = place.admin(*words)
    assert done.exit_code == 0, done.output
    assert "carol: a publisher, without sudo and secrets, on hosts of the roles release" in done.output
    carol = place.site.admins.admins["carol"]
    assert (carol.publisher, carol.sudo, carol.roles) == (True, False, ("release",))
    assert place.secrets.read_bytes() == before
    assert "nothing is to be done" in str(place.admin(*words).exception)
    assert place.admin("remove", "carol").exit_code == 0
    assert not place.departed.exists()


def test_all_that_stood_in_the_file_stands_there_as_before(place: Place, folk: Path) -> None:
    before = place.admins.read_text()
    place.admin("add", "carol", "--key", folk / "carol.pub")
    assert place.admins.read_text() == f'{before}\n[admins.carol]\nssh_keys = ["{public(folk / "carol")}"]\n'
    place.admin("remove", "carol")
    assert place.admins.read_text() == before


def test_comments_go_with_the_one_whom_they_are_about(place: Place) -> None:
    assert place.admin("remove", "alice").exit_code == 0
    bobs = ADMINS[ADMINS.index("# Bob is") :].format(bob=public(place.people / "bob"))
    assert place.admins.read_text() == f"# Who may log in where.\n\n{bobs}"


def test_who_brings_a_security_key_has_to_say_what_secrets_are_encrypted_to(place: Place, folk: Path) -> None:
    error = _refused(place, "add", "carol", "--key", folk / "token.pub")
    assert (error.file, "cannot decrypt" in str(error), "age-keygen" in str(error)) == ("--age", True, True)
    assert place.admin("add", "carol", "--key", folk / "token.pub", "--age", AGE).exit_code == 0
    assert f"carol {AGE}" in place.site.secrets.entries["token"].readers


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_weak_key_is_refused_with_its_file_and_line(place: Place, folk: Path, kind: str) -> None:
    error = _refused(place, "add", "carol", "--key", folk / f"{kind}.pub")
    assert (error.file, error.field) == (str(folk / f"{kind}.pub"), "line 1")
    assert "keys are refused: " in error.problem


def test_a_private_key_is_refused_and_nothing_of_it_shown(place: Place, folk: Path, tmp_path: Path) -> None:
    lines = (folk / "carol").read_text().splitlines()
    pieces = {"whole": "\n".join(lines), "no head": "\n".join(lines[1:]), "end": "\n".join(lines[-3:])}
    for number, text in enumerate([*pieces.values(), str(x25519.Identity.generate())]):
        path = tmp_path / f"given{number}"
        path.write_text(text)
        error = _refused(place, "add", "carol", "--key", path)
        assert not [line for line in text.splitlines() if line[:12] in str(error) and "-----" not in line]
    error = _refused(place, "add", "carol", "--key", folk / "carol")
    assert "is a private key" in str(error)
    assert f"{folk}/carol.pub" in error.hint


def test_a_secret_age_key_is_refused_and_not_shown(place: Place, folk: Path) -> None:
    secret = str(x25519.Identity.generate())
    error = _refused(place, "add", "carol", "--key", folk / "token.pub", "--age", secret)
    assert error.file == "--age"
    assert secret[:24] not in str(error)


def test_a_key_of_somebody_else_is_refused_whoever_comes_first_by_name(place: Place, folk: Path) -> None:
    for name in ("aaron", "carol"):
        assert "is a key of bob already" in str(_refused(place, "add", name, "--key", folk / "bob.pub"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("bob", "is an admin already"), ("Carol", "cannot be the name"), ("root", "system account"), ("c d", "cannot be")],
)
def test_a_name_that_cannot_be_is_refused(place: Place, folk: Path, name: str, problem: str) -> None:
    assert problem in str(_refused(place, "add", name, "--key", folk / "carol.pub"))


def test_a_role_that_there_is_not_is_refused(place: Place, folk: Path) -> None:
    assert "no role 'wbe'" in str(_refused(place, "add", "carol", "--key", folk / "carol.pub", "--roles", "wbe"))


def test_nothing_is_begun_when_a_secret_cannot_be_read_here(
    place: Place, folk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(identities.VARIABLE, str(folk / "carol"))
    for words in (("add", "carol", "--key", folk / "carol.pub"), ("remove", "bob")):
        assert "can be read by: alice" in str(_refused(place, *words))


def test_the_first_admin_of_a_site_can_be_added(place: Place, folk: Path) -> None:
    place.admins.unlink()
    place.secrets.unlink()
    assert place.admin("add", "alice", "--key", folk / "alice.pub").exit_code == 0
    assert place.names() == ["alice"]


def test_who_is_removed_reads_nothing_and_what_they_knew_is_kept(place: Place) -> None:
    done = place.admin("remove", "bob")
    assert done.exit_code == 0, done.output
    assert place.read_by("bob") == {}
    assert place.read_by("alice") == VALUES
    assert departed.read(place.files)["bob"].knows == ("smarthost_password", "token")
    assert re_lines(done.output, "smarthost_password: by hand: at the mail server that hosts send by")
    assert re_lines(done.output, "token: by hand: nothing here names it")
    assert not [value for value in VALUES.values() if value in done.output + place.departed.read_text()]


def re_lines(output: str, words: str) -> bool:
    return any(line.strip().startswith(words) for line in output.splitlines())


def test_the_key_of_who_was_removed_decrypts_nothing_whatever_the_file_says(place: Place, tmp_path: Path) -> None:
    bob, before = place.people / "bob", tmp_path / "before.age"
    before.write_bytes(place.secrets.read_bytes())
    assert place.admin("remove", "bob").exit_code == 0
    place.put(entered_later="of those who stay")
    assert opened(before, bob) == VALUES
    assert opened(place.secrets, bob) == {}
    assert opened(place.secrets, place.people / "alice") == VALUES | {"entered_later": "of those who stay"}


def test_neither_the_last_admin_nor_a_stranger_can_be_removed(place: Place) -> None:
    assert "admins are: alice, bob" in str(_refused(place, "remove", "carol"))
    place.admin("remove", "bob")
    assert "is the last admin" in str(_refused(place, "remove", "alice"))
    assert "no such admin" in str(_refused(place, "remove", "bob"))


def test_the_last_one_with_sudo_somewhere_stays(place: Place) -> None:
    place.admins.write_text(place.admins.read_text().replace("sudo = true", "sudo = false"))
    assert "nobody with sudo would be left on hosts of the role 'web'" in str(_refused(place, "remove", "alice"))


def test_where_else_the_name_stands_is_told(place: Place) -> None:
    place.inventory.write_text(place.inventory.read_text() + '[settings.base]\nssh_only = ["alice", "bob"]\n')
    (place.files / "people.toml").write_text('[people.bob]\nemail = "bob@example.org"\n')
    done = place.admin("remove", "bob")
    assert f"named elsewhere: {place.inventory}: settings.base.ssh_only.1" in done.output
    assert f"named elsewhere: {place.files / 'people.toml'}: people.bob" in done.output


def test_a_file_in_another_form_is_left_to_a_person(place: Place, folk: Path) -> None:
    keys = {name: public(folk / name) for name in ("alice", "bob")}
    inner = ", ".join(f'{name} = {{ ssh_keys = ["{key}"] }}' for name, key in keys.items())
    place.admins.write_text(f"admins = {{ {inner} }}\n")
    for words in (("add", "carol", "--key", folk / "carol.pub"), ("remove", "bob")):
        error = _refused(place, *words)
        assert "another form than tables" in str(error)
        assert "rekey" in error.hint


def test_killed_between_the_two_files_it_is_ended_by_running_it_again(
    place: Place, folk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("add", "carol", "--key", folk / "carol.pub")
    killed(monkeypatch, editing, "apply", lambda: place.admin(*words))
    assert (place.names(), place.read_by("carol")) == (["alice", "bob", "carol"], {})
    assert "with other keys, recipients or roles" in str(_refused(place, *words, "--roles", "web"))
    assert "goes on from there" in place.admin(*words).output
    assert place.read_by("carol") == VALUES
    assert "nothing is to be done" in str(_refused(place, *words))


@pytest.mark.parametrize(("module", "name"), [(editing, "apply"), (departed, "note"), (secrets, "write")])
def test_a_removal_killed_anywhere_forgets_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    killed(monkeypatch, module, name, lambda: place.admin("remove", "bob"))
    assert place.names() == ["alice"]
    assert place.read_by("bob") == VALUES
    assert "bob: is no admin any more" in place.admin("remove", "bob").output
    assert place.read_by("bob") == {}
    assert departed.read(place.files)["bob"].knows == ("smarthost_password", "token")


def test_the_same_end_is_reached_by_hand_and_rekey(place: Place) -> None:
    text = place.admins.read_text()
    place.admins.write_text(text[: text.index("# Bob")])
    assert "departed.toml" in place.run("rekey").output
    assert stale(place.site.secrets.entries, place.site.readers) == ()
    assert departed.read(place.files)["bob"].knows == ("smarthost_password", "token")


def test_a_merge_that_was_not_finished_is_told_by_file_and_line(place: Place, folk: Path) -> None:
    place.admin("remove", "bob")
    for path in (place.secrets, place.admins, place.departed):
        whole = path.read_text()
        lines = whole.splitlines(keepends=True)
        conflict = ["<<<<<<< HEAD\n", lines[4], "=======\n", ">>>>>>> theirs\n"]
        path.write_text("".join([*lines[:4], *conflict, *lines[5:]]))
        error = _refused(place, "add", "carol", "--key", folk / "carol.pub")
        assert (error.file, error.problem) == (str(path), "line 5 is where a merge was not finished")
        assert "finish the merge" in error.hint
        path.write_text(whole)


def test_a_file_that_was_cut_off_is_told_by_file_and_line(place: Place) -> None:
    whole = place.secrets.read_text()
    begin = whole[: whole.index("[token]")].count("\n") + 1
    for end in ("value = '''\n-----BEGIN", "readers = ["):
        place.secrets.write_text(whole[: whole.index(end, whole.index("[token]")) + len(end)])
        error = _refused(place, "remove", "bob")
        assert error.file == str(place.secrets)
        assert f"in what began on line {begin}" in error.problem
    place.secrets.write_text(whole[: whole.index("value", whole.index("[token]"))])
    error = _refused(place, "remove", "bob")
    assert (error.field, error.problem) == ("token.value", f"Field required, in the table of line {begin}")
    place.secrets.write_text("")
    assert "is empty" in str(_refused(place, "remove", "bob"))


def test_the_list_tells_admins_and_what_those_who_left_know(place: Place) -> None:
    place.admin("remove", "bob")
    told = json.loads(place.admin("list", "--json").output)
    [alice] = told["admins"]
    assert (alice["name"], alice["reads"], alice["roles"]) == ("alice", ["smarthost_password", "token"], ["*"])
    [bob] = told["departed"]
    assert [(one["secret"], one["own"]) for one in bob["knows"]] == [("smarthost_password", False), ("token", False)]
    shown = " ".join(place.admin("list").output.split())
    assert "bob left on" in shown
    assert "2 of 2" in shown
