"""Secrets in the repository: who can read them, what a change touches, what never shows them."""

import base64
import os
import subprocess
from pathlib import Path

import pytest
from pyrage import x25519

from inventories import editing, identities
from inventories.errors import InputError
from inventories.keys import label, new_age, public_age
from inventories.secrets import Secrets, UnreadableError, encrypt, owners, parse, read, stale, write
from tests.terminal import on_a_terminal

TOKEN = "correct-horse-battery"
AWKWARD = [
    "two\nlines\n",
    "\r\n",
    "'''\n\"\"\"",
    'quote " and \\',
    "\x00\x1f\x7f",
    "é\u2028🔑",
    " spaces ",
    "\n",
    "a\r\nb\n",
]


def _key(folder: Path, name: str, passphrase: str = "") -> Path:
    path = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", passphrase, "-C", name, "-f", path], check=True
    )
    return path


def _public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _key(tmp_path_factory.mktemp("alice"), "id_ed25519")


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    identity = x25519.Identity.generate()
    path = tmp_path_factory.mktemp("bob") / "age.txt"
    path.write_text(f"# created by age-keygen\n# public key: {identity.to_public()}\n{identity}\n")
    return path


@pytest.fixture(autouse=True)
def _nobodys_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(identities.VARIABLE, raising=False)


def _bobs(path: Path) -> str:
    return str(x25519.Identity.from_str(path.read_text().splitlines()[-1]).to_public())


@pytest.fixture
def file(tmp_path: Path, alice: Path, bob: Path) -> Path:
    path = tmp_path / "secrets.age"
    readers = {"alice": [_public(alice)], "bob": [_bobs(bob)]}
    Secrets.create(path, readers, {"token": TOKEN, "smtp_password": "hunter2"})
    return path


def test_every_reader_can_read_every_secret(file: Path, alice: Path, bob: Path) -> None:
    for key in (alice, bob):
        assert Secrets(file, [key])["token"].get_secret_value() == TOKEN


def test_any_text_comes_back_as_it_was(tmp_path: Path, alice: Path) -> None:
    values = {f"v{number}": value for number, value in enumerate(AWKWARD)}
    Secrets.create(tmp_path / "s", {"alice": [_public(alice)]}, values)
    secrets = Secrets(tmp_path / "s", [alice])
    assert {name: secrets[name].get_secret_value() for name in secrets} == values
    typed = editing.render(secrets, editing.decrypted(secrets), {"alice": [_public(alice)]})
    assert editing.changes(editing.decrypted(secrets), editing.parse(secrets.path, typed)) == {}


def test_names_and_readers_stand_in_the_clear_and_values_do_not(file: Path, alice: Path, bob: Path) -> None:
    text = file.read_text()
    assert "[token]" in text
    assert f"alice {label(_public(alice))}" in text
    assert f"bob {_bobs(bob)}" in text
    assert TOKEN not in text
    fingerprint = subprocess.check_output(["ssh-keygen", "-lf", alice.with_suffix(".pub")], text=True).split()[1]
    assert fingerprint == label(_public(alice))


def test_short_values_do_not_tell_their_length(tmp_path: Path, bob: Path) -> None:
    def payload_bytes(length: int) -> int:
        armor = encrypt(tmp_path, "x", "a" * length, {"bob": [_bobs(bob)]}).value
        whole = base64.b64decode("".join(armor.splitlines()[1:-1]))
        return len(whole.split(b"\n--- ", 1)[1].split(b"\n", 1)[1])

    assert len({payload_bytes(length) for length in (1, 8, 60)}) == 1


def test_the_key_comes_from_home_or_from_the_variable(
    file: Path, alice: Path, bob: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home/.ssh"
    home.mkdir(parents=True)
    (home / "id_ed25519").write_bytes(alice.read_bytes())
    assert Secrets(file)["token"].get_secret_value() == TOKEN
    stranger = _key(tmp_path, "stranger")
    monkeypatch.setenv(identities.VARIABLE, f"{stranger}{os.pathsep}{bob}")
    assert Secrets(file)["token"].get_secret_value() == TOKEN
    monkeypatch.setenv(identities.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(InputError, match="none: cannot be read"):
        Secrets(file)["token"]


def test_a_missing_key_says_who_can_decrypt_and_what_was_tried(file: Path, tmp_path: Path, alice: Path) -> None:
    stranger = _key(tmp_path, "stranger")
    with pytest.raises(UnreadableError) as caught:
        Secrets(file, [stranger])["token"]
    message = str(caught.value)
    assert f"{file}: token: " in message
    assert f"alice {label(_public(alice))}; bob age1" in message
    assert f"Tried: {stranger}" in message
    assert "rekey" in message


def test_a_secret_that_is_not_there_is_named_with_those_that_are(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Secrets(file)["tokn"]
    assert (caught.value.file, caught.value.field) == (str(file), "tokn")
    assert "smtp_password, token" in caught.value.hint
    with pytest.raises(InputError, match="the file does not exist"):
        Secrets(tmp_path / "none")["token"]


def test_values_are_shown_by_no_repr_and_no_error(file: Path, alice: Path) -> None:
    secrets = Secrets(file, [alice])
    value = secrets["token"]
    shown = [repr(value), str(value), repr(secrets), repr(vars(secrets)), repr(editing.decrypted(secrets))]
    shown += [repr(identities.read(alice)), repr(identities.find([alice]))]
    assert not [text for text in shown if TOKEN in text or "PRIVATE KEY" in text]
    for typed in (f'token = "{TOKEN}', f"token = {TOKEN}", f'token = ["{TOKEN}"]', f'token = {{ valu = "{TOKEN}" }}'):
        with pytest.raises(InputError) as caught:
            editing.parse(file, typed)
        assert TOKEN not in repr(caught.value) + str(caught.value) + repr(caught.value.__cause__)


def test_a_value_moved_under_another_name_is_noticed(file: Path, alice: Path) -> None:
    entries = read(file)
    write(file, entries | {"token": entries["smtp_password"]})
    with pytest.raises(InputError, match="does not hold its own value but one of 'smtp_password'"):
        Secrets(file, [alice])["token"]


def test_a_damaged_value_is_told_from_a_missing_key(file: Path, alice: Path, bob: Path) -> None:
    foreign = encrypt(file, "token", TOKEN, {"bob": [_bobs(bob)]})
    entries = read(file)
    write(file, entries | {"token": entries["token"].model_copy(update={"value": foreign.value})})
    with pytest.raises(InputError, match="is damaged, or was not encrypted to") as caught:
        Secrets(file, [alice])["token"]
    assert not isinstance(caught.value, UnreadableError)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("<<<<<<< HEAD", ""),
        ("[Token]", "Token"),
        ("[token]\nreaders = []\nvalue = ''", "token"),
        ("[token]\nreaders = ['alice x']\nvalue = 'clear text'", "token.value"),
        ("[token]\nreaders = ['alice x']\nvalue = 'x'\nother = 1", "token"),
        ("token = 'clear text'", "token"),
    ],
)
def test_a_malformed_file_is_an_error_before_anything_is_decrypted(text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(Path("secrets.age"), text.encode())
    assert caught.value.field.startswith(field)
    assert "clear text" not in str(caught.value)


def test_an_unchanged_secret_keeps_its_bytes(file: Path, alice: Path) -> None:
    before = file.read_text()
    readers = {"alice": [_public(alice)]}
    editing.apply(file, read(file), {"added": editing.Plain("x", ("drill",))}, readers)
    after = file.read_text()
    start = before.index("[smtp_password]")
    assert before[start:] in after
    assert Secrets(file, [alice]).tagged("drill") == ("added",)
    assert stale(read(file), readers) == ("smtp_password", "token")


def test_changes_to_different_secrets_at_the_same_time_are_both_kept(file: Path, alice: Path) -> None:
    readers = {"alice": [_public(alice)]}
    seen = read(file)
    editing.apply(file, seen, {"token": editing.Plain("theirs")}, readers)
    editing.apply(file, seen, {"smtp_password": editing.Plain("mine")}, readers)
    secrets = Secrets(file, [alice])
    assert [secrets[name].get_secret_value() for name in secrets] == ["mine", "theirs"]


@pytest.mark.parametrize("theirs", [editing.Plain("theirs"), None])
def test_a_change_over_somebody_elses_is_refused_and_kept_encrypted(
    file: Path, alice: Path, theirs: editing.Plain | None
) -> None:
    readers = {"alice": [_public(alice)]}
    seen = read(file)
    editing.apply(file, seen, {"token": theirs}, readers)
    held = file.read_bytes()
    with pytest.raises(InputError, match="token: changed by somebody else") as caught:
        editing.apply(file, seen, {"token": editing.Plain("mine")}, readers)
    assert file.read_bytes() == held
    kept = file.with_name("secrets.age.yours")
    assert str(kept) in caught.value.hint
    assert Secrets(kept, [alice])["token"].get_secret_value() == "mine"
    assert b"mine" not in kept.read_bytes()


def test_a_write_that_fails_leaves_the_file_and_nothing_beside_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(file, {})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["secrets.age"]


def test_nobody_to_encrypt_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nobody could read it"):
        Secrets.create(tmp_path / "s", {}, {"token": TOKEN})


def _read_twice(file: Path, key: Path) -> int:
    """What the process of a user does: prints the token twice, or the error that stopped it."""
    try:
        for _ in range(2):
            os.write(1, f"GOT {Secrets(file, [key])['token'].get_secret_value()}\n".encode())
    except InputError as error:
        os.write(1, str(error).encode())
        return 2
    return 0


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _key(tmp_path_factory.mktemp("locked"), "id_ed25519", "open sesame")


@pytest.fixture
def lockeds_file(tmp_path: Path, locked: Path) -> Path:
    Secrets.create(tmp_path / "locked.age", {"carol": [_public(locked)]}, {"token": TOKEN})
    return tmp_path / "locked.age"


def test_a_passphrase_is_asked_once_never_echoed_and_may_be_mistyped(lockeds_file: Path, locked: Path) -> None:
    before = {path: path.read_bytes() for path in locked.parent.iterdir()}
    seen, code = on_a_terminal(lambda: _read_twice(lockeds_file, locked), ["wrong", "open sesame"])
    assert code == 0, seen
    assert seen.count(f"GOT {TOKEN}") == 2
    assert seen.count("Passphrase of") == 2
    assert "sesame" not in seen
    assert {path: path.read_bytes() for path in locked.parent.iterdir()} == before


def test_a_wrong_passphrase_is_an_error_after_three_attempts(lockeds_file: Path, locked: Path) -> None:
    seen, code = on_a_terminal(lambda: _read_twice(lockeds_file, locked), ["a", "b", "c", "d"])
    assert (code, seen.count("Passphrase of")) == (2, 3)
    assert "wrong passphrase" in seen


def test_without_a_terminal_a_passphrase_cannot_be_asked_and_says_so(lockeds_file: Path, locked: Path) -> None:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(theirs, 1)
        os._exit(_read_twice(lockeds_file, locked))
    os.close(theirs)
    with os.fdopen(ours) as out:
        assert "there is no terminal to ask on" in out.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2


def test_a_passphrase_is_not_asked_for_a_key_that_could_not_read_it(file: Path, locked: Path, bob: Path) -> None:
    assert Secrets(file, [locked, bob])["token"].get_secret_value() == TOKEN
    with pytest.raises(UnreadableError):
        Secrets(file, [locked])["token"]


@pytest.mark.parametrize("content", ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(InputError, match=f"{tmp_path / 'key'}: "):
        identities.read(tmp_path / "key")


def test_an_ecdsa_identity_says_it_cannot_decrypt(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "key")], check=True)
    with pytest.raises(InputError, match="is a ecdsa-sha2-nistp256 key, which cannot decrypt"):
        identities.read(tmp_path / "key")


@pytest.mark.parametrize(
    ("tags", "who"),
    [
        ((), ["alice"]),
        (("other",), ["alice"]),
        (("drill",), ["alice", "control"]),
        (("control",), ["alice", "control"]),
    ],
)
def test_a_tag_lets_the_control_host_read(tmp_path: Path, alice: Path, tags: tuple[str, ...], who: list[str]) -> None:
    readers, path = {"alice": [_public(alice)], "control": [public_age(new_age())]}, tmp_path / "tagged.age"
    write(path, {"token": encrypt(path, "token", TOKEN, readers, tags)})
    assert sorted(owners(read(path)["token"])) == who
    assert Secrets(path, [alice]).shared() == (("token",) if "control" in who else ())
    assert stale(read(path), readers) == ()
