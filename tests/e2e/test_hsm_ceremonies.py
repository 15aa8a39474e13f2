"""Ceremonies at two simulated devices: the printed checklists, followed to the letter; shares; transcripts."""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from yubihsm.defs import OBJECT

from cloud.converge import REPOSITORY
from lab import tools
from roles.signing.tools.ceremony import shares
from roles.signing.tools.ceremony.fingerprints import aloud, of_file
from roles.signing.tools.state.planning import DIFFERS
from tests import hsm_tools
from tests.hsm_ceremony import HOLDERS, THRESHOLD, Followed, Holders, follow
from tests.hsm_site import ADMIN, FACTORY, PASSWORDS, Called, Site, serving, site

pytestmark = pytest.mark.lab
SPARE = 999_000_003
SECRETS = [PASSWORDS[name] for name in ("admin", "audit", "signing")]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is on the signing host's path."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "mainstay").symlink_to(REPOSITORY / "bin/mainstay")
    shell = tools.words(tools.root_with("yubihsm", hsm_tools.PACKAGES), "usr/bin/yubihsm-shell")
    (folder / "yubihsm-shell").write_text(f'#!/bin/sh\nexec {shlex.join(shell)} "$@"\n')
    (folder / "yubihsm-shell").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return Holders(tmp_path_factory.mktemp("holders") / "keys")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, programs: Path, holders: Holders) -> tuple[Path, str, list[Followed]]:
    """The folder of a site that was made by its checklist; the checklist for programs; and what was seen."""
    folder = tmp_path_factory.mktemp("new")
    with site(folder) as one:
        holders.declare(one)
        printed = one.mainstay("checklist", "new-hsm").out
        told = one.mainstay("checklist", "new-hsm", "--json").out

        def typed() -> Iterator[str]:
            """The second one is mistyped at first."""
            yield holders.words("dave", folder / "shares")
            wrong = holders.words("alice", folder / "shares").split()
            yield " ".join([*wrong[:10], "acid" if wrong[10] == "academic" else "academic", *wrong[11:]])
            yield holders.words("alice", folder / "shares")
            yield holders.words("carol", folder / "shares")

        def certify() -> None:
            for number in (0x0101, 0x0102):
                one.certify(number)

        seen = follow(one, printed, programs, shares=typed(), before={"mainstay hsm apply": certify})
        assert one.mainstay("plan").code == 0
        assert one.mainstay("audit").code == 0
        assert one.mainstay("drain").code == 0
        assert one.mainstay("verify").code == 0
    return folder, told, seen


@pytest.fixture
def made(new: tuple[Path, str, list[Followed]], holders: Holders, tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, like=new[0]) as one:
        holders.declare(one)
        yield one


@contextmanager
def replaced(one: Site) -> Iterator[Site]:
    """With a device from the factory in the backup's place."""
    with serving(one.folder / "devices/spare", SPARE) as spare:
        one.change(one.backup.url, spare.url)
        one.change("999000002", str(SPARE))
        one.devices["backup"] = spare
        yield one


def showed(told: str, seen: Sequence[Followed]) -> list[str]:
    """What a checklist says that a command shows, and it did not."""
    steps = [step for step in json.loads(told)["steps"] if step["commands"]]
    assert len(steps) == len(seen)
    return [
        f"{one.command}: {words}"
        for step, one in zip(steps, seen, strict=True)
        for words in (*step["expect"], *(half for digest in step["aloud"].values() if digest for half in aloud(digest)))
        if words not in one.shown
    ]


def test_a_new_pair_is_made_by_its_checklist(new: tuple[Path, str, list[Followed]]) -> None:
    _, told, seen = new
    assert showed(told, seen) == []
    apply = next(one for one in seen if one.command == "mainstay hsm apply --key 0x0001")
    assert "share 2 of 3 of wrap key main: mistyped: its 33 words do not fit their checksum" in apply.shown
    fingerprints = next(one for one in seen if one.command == "mainstay hsm fingerprints")
    assert "public key 0x0101 releasekey: 0x0101.x509.pem, primary, backup" in fingerprints.shown


def test_its_transcript_has_all_of_it_but_the_secrets(new: tuple[Path, str, list[Followed]], holders: Holders) -> None:
    folder, _, seen = new
    path = folder / "new-hsm.transcript"
    text = path.read_text()
    for one in seen[1:-1]:
        assert one.command.splitlines()[0].removesuffix("\\") in text
    assert "nothing is wrong" in text
    assert [secret for secret in SECRETS if secret in text] == []
    for name in HOLDERS:
        words = holders.words(name, folder / "shares").split()
        assert " ".join(words[4:8]) not in text
    secret = shares.given([(name, holders.words(name, folder / "shares")) for name in HOLDERS[:3]], "key").hex()
    assert secret not in text
    assert "\n".join(aloud(of_file(path))) in seen[-1].shown.replace("\r\n", "\n")


@pytest.mark.full
def test_a_device_is_made_again_by_its_checklist(made: Site, programs: Path, holders: Holders) -> None:
    with replaced(made):
        printed = made.mainstay("checklist", "restore").out
        told = made.mainstay("checklist", "restore", "--json").out
        assert json.loads(told)["devices"] == [f"backup ({SPARE})"]
        typed = (holders.words(name, made.folder / "shares") for name in HOLDERS[1:4])
        seen = follow(made, printed, programs, shares=typed)
        assert showed(told, seen) == []
        assert made.mainstay("plan").code == 0
        assert made.mainstay("audit").code == 0


def test_a_release_is_signed_by_its_checklist(made: Site, programs: Path) -> None:
    code = (
        "import sys; from yubihsm import YubiHsm; from yubihsm.objects import AsymmetricKey\n"
        "password = open(sys.argv[2]).read().strip()\n"
        "with YubiHsm.connect(sys.argv[1]) as hsm, hsm.create_session_derived(1, password) as opened:\n"
        "    [AsymmetricKey(opened, 0x0101).sign_ecdsa(b'x') for _ in range(3)]\n"
    )
    script = made.folder / "sign.py"
    script.write_text(code)
    signing = [str(REPOSITORY / ".venv/bin/python"), str(script), made.primary.url, str(made.folder / "signing")]
    printed = made.mainstay("checklist", "sign").out
    told = made.mainstay("checklist", "sign", "--json").out

    def fill(command: str, seen: Sequence[Followed]) -> str:
        if "hsm run" in command:
            return command.replace("____", shlex.join(signing))
        if "--since" in command:
            commit = next(one for one in seen if "rev-parse" in one.command).shown.split()[-2]
            return command.replace("____", commit, 1).replace("____", "3", 1).replace("____", "0", 1)
        return command

    seen = follow(made, printed, programs, fill=fill)
    assert showed(told, seen) == []
    assert "sign-ecdsa by 0x0101: 3" in next(one for one in seen if "--since" in one.command).shown


def test_a_checklist_needs_no_device_and_no_other_file(tmp_path: Path, holders: Holders) -> None:
    with site(tmp_path / "site") as one:
        holders.declare(one)
        text = one.file.read_text()
    (tmp_path / "hsm.toml").write_text(text.replace('"hsm-log"', '"/srv/signing/hsm-log"'))
    done = Site(tmp_path, {}).mainstay("checklist", "new-hsm")
    assert done.code == 0
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert done.out.isascii()
    assert [name for name in HOLDERS if f"share {HOLDERS.index(name) + 1} of main, {name}" not in done.out] == []


# Shares


def applied(one: Site, *options: str) -> Called:
    """The wrap key comes from shares, or not at all."""
    words = [f"--password-file={name}={one.folder / name}" for name in ("admin", "audit", "signing")]
    words += [*one.from_factory(), "--device", "backup", *options]
    return one.program("hsm", "apply", "--file", str(one.file), *words)


def on_device(one: Site) -> set[tuple[str, int]]:
    with one.backup.session(FACTORY, PASSWORDS["factory"]) as opened:
        return {(each.object_type.name, each.id) for each in opened.list_objects()}


def given(paths: Sequence[Path]) -> list[str]:
    return [f"--share=main={path}" for path in paths]


def test_any_three_of_five_make_the_wrap_key_by_which_a_key_is_imported(made: Site, holders: Holders) -> None:
    with replaced(made):
        done = applied(made, *given(holders.files(("erin", "bob", "alice"), made.folder / "shares")))
        assert done.code == DIFFERS, done
        assert "done: " in done.out
        assert {("WRAP_KEY", 0x0200), ("ASYMMETRIC_KEY", 0x0101), ("ASYMMETRIC_KEY", 0x0102)} <= on_device(made)
        with made.backup.session(ADMIN, PASSWORDS["admin"]) as opened:
            mine = opened.get_object(0x0101, OBJECT.ASYMMETRIC_KEY).get_public_key()  # type: ignore[attr-defined]
        with made.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
            assert opened.get_object(0x0101, OBJECT.ASYMMETRIC_KEY).get_public_key() == mine  # type: ignore[attr-defined]


def mistyped(paths: list[Path]) -> None:
    words = paths[1].read_text().split()
    words[20] = "academic" if words[20] != "academic" else "acid"
    paths[1].write_text(" ".join(words))


def misspelt(paths: list[Path]) -> None:
    paths[1].write_text(paths[1].read_text().replace(" ", " keyy ", 1))


def of_another_split(paths: list[Path]) -> None:
    paths[1].write_text(shares.split(bytes(32), THRESHOLD, 5)[1])


def forged(paths: list[Path]) -> None:
    """A share that is whole, of the right set, and not one that was handed out."""
    right = shares.parse(paths[1].read_text(), "x")
    other = type(right)(**{**vars(right), "value": bytes(32)})
    paths[1].write_text(other.mnemonic())


WRONG = {
    "mistyped": (mistyped, "mistyped: its 33 words do not fit their checksum"),
    "misspelt": (misspelt, "mistyped: word 2 of 34 is none that shares have"),
    "of another split": (of_another_split, "is of another set than the one before it"),
    "forged": (forged, "these shares make no key"),
    "twice the same": (lambda paths: paths[1].write_text(paths[0].read_text()), "is the same share as one before it"),
    "too few": (lambda paths: paths.pop(), "too few shares: 2 of the 3 that make it"),
    "no words": (lambda paths: paths[1].write_text("\n"), "must hold one line"),
    "readable by others": (lambda paths: paths[1].chmod(0o644), "others may read it"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_shares_are_one_error_and_nothing_is_sent(made: Site, holders: Holders, what: str) -> None:
    with replaced(made):
        paths = holders.files(HOLDERS[:3], made.folder / "shares")
        words = [path.read_text().split() for path in paths]
        spoil, told = WRONG[what]
        spoil(paths)
        before = made.backup.numbers
        done = applied(made, *given(paths))
        assert (done.code, told in done.said) == (1, True), done
        assert len(done.said.splitlines()) == 1
        assert not any(" ".join(share[at : at + 3]) in done.said for share in words for at in range(len(share) - 2))
        assert made.backup.numbers == before
        assert on_device(made) == {("AUTHENTICATION_KEY", FACTORY)}


def test_shares_of_a_key_that_there_is_are_made_and_no_file_is_written_over(made: Site, holders: Holders) -> None:
    digits = made.folder / "digits"
    digits.write_text("5a" * 32)
    words = ["hsm", "shares", "split", "main", "--file", str(made.file), "--out", str(made.folder / "others")]
    with digits.open() as file:
        done = made.program(*words, "--secret-fd", str(file.fileno()), pass_fds=(file.fileno(),))
    assert done.code == 0, done
    paths = holders.files(HOLDERS[2:], made.folder / "others")
    assert shares.given([(path.name, path.read_text()) for path in paths], "key") == b"\x5a" * 32
    tried = made.program("hsm", "shares", "join", *map(str, paths))
    assert (tried.code, tried.out) == (0, "they make a key of 32 bytes\n")
    before = {path.name: path.read_bytes() for path in (made.folder / "others").iterdir()}
    again = made.program(*words)
    assert (again.code, "is there already" in again.said) == (1, True)
    assert {path.name: path.read_bytes() for path in (made.folder / "others").iterdir()} == before
    assert all(b"AGE ENCRYPTED FILE" in content for content in before.values())
