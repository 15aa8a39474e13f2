"""Of custody: entries of a log and their lines, what one list shows after another; passwords; wrapped files."""

import base64
import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from yubihsm.defs import ALGORITHM, COMMAND

from roles.signing.tools.custody import records, verifying
from roles.signing.tools.custody.entries import DIGEST_BYTES, LAYOUT, Entry, Incident, news, unlogged
from roles.signing.tools.custody.records import Accepted
from roles.signing.tools.errors import HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.state import folder
from roles.signing.tools.state.folder import Folder

FIRST = Entry(1, 0xFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFF, 0xFFFFFFFF, bytes(range(16)))
LOGIN = COMMAND.AUTHENTICATE_SESSION


def after(before: Entry, command: int = COMMAND.SIGN_PKCS1, result: int | None = None) -> Entry:
    told = Entry(
        before.number + 1 & 0xFFFF,
        *(command, 34, 1, 0x0101, 0xFFFF, command | 0x80 if result is None else result, 5012, b""),
    )
    raw = LAYOUT.pack(*told)[:-DIGEST_BYTES]
    return told._replace(digest=hashlib.sha256(raw + before.digest).digest()[:DIGEST_BYTES])


def chain(count: int, first: Entry = FIRST) -> list[Entry]:
    found = [first]
    while len(found) < count:
        found.append(after(found[-1]))
    return found


def kinds(found: list[Entry | Incident]) -> list[str]:
    return [one.kind if isinstance(one, Incident) else str(one.number) for one in found]


@pytest.mark.parametrize(
    "entry",
    [FIRST, after(FIRST, 0, 0), after(FIRST), after(FIRST, result=0x0B), after(FIRST, 0x55, 0x33), after(FIRST, 0xEE)],
)
def test_a_line_is_an_entry_without_loss(entry: Entry) -> None:
    assert records.parse(records.line(entry, "2026-11-27T10:00:00Z")) == entry


def test_a_line_can_be_read_by_people() -> None:
    line = records.line(after(FIRST), "2026-11-27T10:00:00Z")
    assert '"command": "sign-pkcs1"' in line
    assert '"target_key": "0x0101"' in line
    assert '"result": "done"' in line


@pytest.mark.parametrize("other", [Incident("gap", "entry 3 ..."), Accepted("Monday", "alice")])
def test_other_lines_are_read_back(other: Incident | Accepted) -> None:
    assert records.parse(records.line(other, "2026-11-27T10:00:00Z")) == other


@pytest.mark.parametrize("text", ["{}", "[]", "x", '{"entry": 1}', '{"incident": "luck", "told": ""}'])
def test_what_is_no_line_of_a_log_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        records.parse(text)


def test_a_log_from_its_first_entry_on_is_news() -> None:
    assert list(news(None, chain(5))) == chain(5)


def test_what_was_drained_and_not_freed_is_known_again() -> None:
    told = chain(6)
    assert list(news(told[3], told)) == told[4:]
    assert list(news(told[5], told)) == []
    assert list(news(told[3], told[4:])) == told[4:]


def test_numbers_begin_again_after_65535() -> None:
    last = FIRST._replace(number=0xFFFF)
    assert kinds(list(news(last, [after(last)]))) == ["0"]


def test_incidents_stand_before_the_entry_that_shows_them() -> None:
    told = chain(8)
    other = told[4]._replace(tick=1)
    assert kinds(list(news(None, told[2:4]))) == ["late", "3", "4"]
    assert kinds(list(news(told[2], told[4:6]))) == ["gap", "5", "6"]
    assert kinds(list(news(told[3], [other]))) == ["broken", "5"]
    assert kinds(list(news(told[3], [told[4], told[6]]))) == ["5", "gap", "7"]
    assert kinds(list(news(told[3], chain(2, FIRST._replace(digest=bytes(16)))))) == ["reset", "1", "2"]


def test_of_logins_that_found_no_slot_the_drains_own_is_none() -> None:
    with_own = [after(FIRST, LOGIN)]
    assert list(unlogged(0, 0, with_own)) == []
    assert list(unlogged(0, 1, chain(3))) == []
    assert [one.kind for one in unlogged(0, 2, chain(3))] == ["unlogged-logins"]
    assert [one.kind for one in unlogged(0, 1, with_own)] == ["unlogged-logins"]
    assert [one.kind for one in unlogged(3, 0, with_own)] == ["unlogged-boots"]


def lines(*found: Entry | Incident | Accepted) -> list[str]:
    return [records.line(one, "2026-11-27T10:00:00Z") for one in found]


def test_a_chain_is_checked_and_signatures_are_counted() -> None:
    told = chain(5)
    checked = verifying.check(7, lines(*told))
    assert (checked.entries, checked.last, checked.problems, checked.open) == (5, 5, (), ())
    assert checked.signatures == Counter({("sign-pkcs1", 0x0101): 4})
    assert verifying.check(7, lines(*told), skipped=3).signatures.total() == 2


def test_a_refused_signature_is_none() -> None:
    assert verifying.check(7, lines(FIRST, after(FIRST, result=0x0B))).signatures.total() == 0


def test_a_break_without_its_incident_is_a_problem() -> None:
    told = chain(6)
    assert verifying.check(7, lines(*told[:2], *told[3:])).problems
    assert verifying.check(7, lines(*told[:3], told[2])).problems
    assert verifying.check(7, lines(*told[1:])).problems
    assert not verifying.check(7, lines(*told[:2], Incident("gap", ""), *told[3:])).problems
    assert verifying.check(7, lines(*told[:2], Incident("unlogged-boots", ""), *told[3:])).problems


def test_an_incident_is_open_until_somebody_accepts_it() -> None:
    told: list[Entry | Incident] = [*chain(3), Incident("unlogged-boots", "1 times")]
    assert [one.kind for one in verifying.check(7, lines(*told)).open] == ["unlogged-boots"]
    accepted = verifying.check(7, lines(*told, Accepted("a test", "alice")))
    assert (accepted.open, accepted.accepted) == ((), 1)
    assert verifying.check(7, lines(*told, Accepted("", "alice"), Incident("gap", ""))).open


# Passwords


def secret(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_passwords_come_from_files_and_descriptors(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"by descriptor")
    os.close(write)
    file = secret(tmp_path / "file", "by file\n")
    passwords = Passwords([str(file)], [f"admin={read}"], "audit")
    assert (passwords.of("audit"), passwords.of("admin")) == ("by file", "by descriptor")
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(read)


@pytest.mark.parametrize(("content", "mode"), [("right", 0o640), ("", 0o600), ("two\nlines\n", 0o600)])
def test_a_file_that_is_no_password_is_refused(tmp_path: Path, content: str, mode: int) -> None:
    with pytest.raises(HsmError):
        Passwords([str(secret(tmp_path / "file", content, mode))], [], "audit").of("audit")


def test_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
    with pytest.raises(HsmError, match="no password of audit"):
        Passwords([], [], "audit").of("audit")


# The folder


def test_names_are_with_0x_or_without(tmp_path: Path) -> None:
    for name in ("0x0101-asymmetric-key.yhw", "0102-asymmetric-key.yhw", "0x00Af.x509.pem", "notes.txt", ".hidden"):
        (tmp_path / name).write_text("")
    found = Folder(tmp_path)
    assert ({*found.wrapped}, {*found.certificates}) == ({0x0101, 0x0102}, {0x00AF})
    assert [path.name for path in found.others] == ["notes.txt"]
    (tmp_path / "0101-asymmetric-key.yhw").write_text("")
    with pytest.raises(HsmError, match="of one key"):
        Folder(tmp_path)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [(ALGORITHM.RSA_4096, 1792), (ALGORITHM.RSA_2048, 896), (ALGORITHM.EC_P521, 198), (ALGORITHM.EC_ED25519, 128)],
)
def test_a_wrapped_key_is_as_long_as_its_algorithm_says(tmp_path: Path, algorithm: ALGORITHM, key: int) -> None:
    path = tmp_path / "0x0101-asymmetric-key.yhw"
    path.write_bytes(base64.b64encode(bytes(13 + 59 + key + 16)))
    assert folder.problem(path, algorithm) == ""
    path.write_bytes(base64.b64encode(bytes(13 + 59 + key + 15)))
    assert "it is cut" in folder.problem(path, algorithm)
    path.write_text("no base64!")
    assert "is not base64" in folder.problem(path, algorithm)
