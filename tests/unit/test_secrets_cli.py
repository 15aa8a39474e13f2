"""`mainstay secrets` as an admin uses it: the editor, the clear text it works on, what a kill leaves."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyrage import x25519
from typer.testing import CliRunner, Result

from cli.secrets import app
from inventories import editing, identities
from inventories.errors import InputError
from inventories.secrets import Secrets, encrypt, write
from tests.waiting import until

TOKEN = "correct-horse-battery"


@pytest.fixture
def people(tmp_path: Path) -> dict[str, Path]:
    """Key files by name; admins.toml is made from them."""
    found = {}
    for name in ("alice", "bob"):
        found[name] = tmp_path / f"{name}.txt"
        found[name].write_text(f"{x25519.Identity.generate()}\n")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    return found


def _recipient(key: Path) -> str:
    return str(x25519.Identity.from_str(key.read_text().strip()).to_public())


def _declare(people: dict[str, Path], *names: str) -> None:
    text = ""
    for name in names:
        login = people[name].with_suffix(".pub").read_text().strip()
        text += f'[admins.{name}]\nssh_keys = ["{login}"]\nage_recipients = ["{_recipient(people[name])}"]\n'
    (people["alice"].parent / "site/admins.toml").write_text(text)


@pytest.fixture
def site(tmp_path: Path, people: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The secrets file of a site without hosts, whose only admin is alice, who runs the tests."""
    (tmp_path / "site").mkdir()
    inventory = '[site]\nname = "site"\ndomain = "example.org"\n[hosts]\n'
    (tmp_path / "site.toml").write_text(inventory)
    _declare(people, "alice")
    Secrets.create(
        tmp_path / "site/secrets.age",
        {"alice": [_recipient(people["alice"])]},
        {"token": TOKEN, "smtp_password": "hunter2"},
    )
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(editing, "IN_MEMORY", (str(memory),))
    monkeypatch.setenv("MAINSTAY_INVENTORY", str(tmp_path / "site.toml"))
    monkeypatch.setenv(identities.VARIABLE, str(people["alice"]))
    monkeypatch.delenv("VISUAL", raising=False)
    yield tmp_path / "site/secrets.age"
    assert not list(memory.iterdir()), "an edit left its folder behind"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _editor(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Makes a shell script, given the file as $1, the editor."""
    path = folder / "editor.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(path))


def _values(file: Path) -> dict[str, str]:
    secrets = Secrets(file)
    return {name: secrets[name].get_secret_value() for name in secrets}


def test_show_prints_names_and_a_value_only_when_it_is_named(site: Path) -> None:
    assert _run("show").output == "smtp_password\ntoken\n"
    assert _run("show", "token").output == f"{TOKEN}\n"


def test_list_tells_readers_and_decrypts_nothing(
    site: Path, people: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = _run("list")
    assert done.exit_code == 0, done.output
    assert re.search(r"token .* alice .* yes ", done.output)
    monkeypatch.setenv(identities.VARIABLE, str(people["bob"]))
    assert re.search(r"token .* alice .* no ", _run("list").output)


@pytest.mark.parametrize("command", ["edit", "show", "rekey", "list"])
def test_without_an_inventory_it_refuses_and_lists_those_there_are(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAINSTAY_INVENTORY", raising=False)
    error = _run(command).exception
    assert isinstance(error, InputError)
    assert "inventories/prod.py" in error.hint


def test_edit_encrypts_what_was_changed_and_leaves_the_rest_byte_for_byte(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Secrets(site).entries["token"]
    _editor(monkeypatch, tmp_path, """sed -i 's/hunter2/changed/' "$1"; echo 'added = "new"' >> "$1" """)
    done = _run("edit")
    assert done.output == "added: added\nsmtp_password: changed\n"
    assert _values(site) == {"added": "new", "smtp_password": "changed", "token": TOKEN}
    assert Secrets(site).entries["token"] == before


def test_a_line_removed_removes_the_secret(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _editor(monkeypatch, tmp_path, """sed -i '/^token/d' "$1" """)
    assert _run("edit").output == "token: removed\n"
    assert list(Secrets(site)) == ["smtp_password"]


def test_an_edit_without_a_change_does_not_touch_the_file(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.stat()
    _editor(monkeypatch, tmp_path, "true")
    assert _run("edit").output == "nothing changed\n"
    now = site.stat()
    assert (now.st_ino, now.st_mtime_ns, now.st_ctime_ns) == (before.st_ino, before.st_mtime_ns, before.st_ctime_ns)


@pytest.mark.parametrize(
    "script",
    ['echo "token = " >> "$1"', "exit 3", """printf 'added = "\\377"\n' >> "$1" """, 'rm "$1"', 'rm "$1"; mkdir "$1"'],
)
def test_a_spoiled_edit_changes_nothing(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    before = site.read_bytes()
    _editor(monkeypatch, tmp_path, script)
    done = _run("edit")
    assert isinstance(done.exception, InputError)
    assert TOKEN not in str(done.exception)
    assert site.read_bytes() == before


@pytest.mark.parametrize("command", ['"x', " "])
def test_an_editor_that_is_no_command_is_named(site: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", command)
    error = _run("edit").exception
    assert isinstance(error, InputError)
    assert (error.file, repr(command) in error.problem) == ("$EDITOR", True)


def test_what_is_no_utf_8_can_be_edited_again(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _editor(monkeypatch, tmp_path, """printf 'added = "\\377"\n' >> "$1" """)
    text = editing.edit("")
    with pytest.raises(InputError, match="not UTF-8"):
        editing.parse(site, text)
    _editor(monkeypatch, tmp_path, f"""cp "$1" {tmp_path}/seen""")
    editing.edit(text)
    assert (tmp_path / "seen").read_bytes() == b'added = "\xff"\n'


def test_the_clear_text_lies_where_only_its_user_gets(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _editor(monkeypatch, tmp_path, f'stat -c %a "$1" "$(dirname "$1")" > {tmp_path}/modes')
    _run("edit")
    assert (tmp_path / "modes").read_text().split() == ["600", "700"]


def test_a_change_made_under_the_editor_is_not_overwritten(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, people: dict[str, Path]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    readers = {"alice": [_recipient(people["alice"])]}
    elsewhere.write_bytes(site.read_bytes())
    editing.apply(elsewhere, Secrets(site).entries, {"token": editing.Plain("theirs")}, readers)
    _editor(monkeypatch, tmp_path, f"""sed -i 's/{TOKEN}/mine/' "$1"; cp {elsewhere} {site}""")
    done = _run("edit")
    assert isinstance(done.exception, InputError)
    assert "changed by somebody else meanwhile" in str(done.exception)
    assert _values(site)["token"] == "theirs"
    assert _run("show", "token", "--file", f"{site}.yours").output == "mine\n"


def test_a_second_refused_change_keeps_the_first_ones(site: Path, people: dict[str, Path]) -> None:
    readers = {"alice": [_recipient(people["alice"])]}
    seen = Secrets(site).entries
    editing.apply(site, seen, {"token": editing.Plain("theirs")}, readers)
    kept = [site.with_name(f"secrets.age.yours{number}") for number in ("", 2, 3)]
    for path in kept:
        with pytest.raises(InputError, match=f"in {path}:"):
            editing.apply(site, seen, {"token": editing.Plain(path.name)}, readers)
    assert [_values(path)["token"] for path in kept] == [path.name for path in kept]


def test_rekey_lets_a_new_admin_in_and_the_one_who_left_out(
    site: Path, people: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _declare(people, "alice", "bob")
    assert "not the present admins" in " ".join(_run("list").output.split())
    assert _run("rekey").output == "2 secrets can now be read by: alice, bob\n"
    monkeypatch.setenv(identities.VARIABLE, str(people["bob"]))
    assert _values(site)["token"] == TOKEN
    _declare(people, "bob")
    assert "alice has been able to read these: replace them" in _run("rekey").output
    monkeypatch.setenv(identities.VARIABLE, str(people["alice"]))
    with pytest.raises(InputError, match="can be read by: bob"):
        Secrets(site)["token"]


def test_rekey_changes_nothing_when_one_secret_cannot_be_read(site: Path, people: dict[str, Path]) -> None:
    bobs = {"bob": [_recipient(people["bob"])]}
    editing.apply(site, Secrets(site).entries, {"token": editing.Plain("bobs")}, bobs)
    before = site.read_bytes()
    error = _run("rekey").exception
    assert isinstance(error, InputError)
    assert error.field == "token"
    assert site.read_bytes() == before


def test_edit_keeps_what_its_user_cannot_read(
    site: Path, people: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bobs = {"bob": [_recipient(people["bob"])]}
    editing.apply(site, Secrets(site).entries, {"token": editing.Plain("bobs")}, bobs)
    _editor(monkeypatch, tmp_path, f"""cp "$1" {tmp_path}/seen; sed -i 's/hunter2/x/' "$1" """)
    assert _run("edit").exit_code == 0
    assert "# token: only bob can read it" in (tmp_path / "seen").read_text()
    monkeypatch.setenv(identities.VARIABLE, f"{people['alice']}{os.pathsep}{people['bob']}")
    assert _values(site) == {"smtp_password": "x", "token": "bobs"}


def test_vim_is_told_to_write_nothing_elsewhere(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _editor(monkeypatch, tmp_path, f'echo "$*" > {tmp_path}/seen')
    vim = (tmp_path / "editor.sh").rename(tmp_path / "vim.basic")
    (tmp_path / "vi").symlink_to(vim)
    monkeypatch.setenv("EDITOR", str(tmp_path / "vi"))
    assert _run("edit").exit_code == 0
    assert (tmp_path / "seen").read_text().startswith("-n -i NONE -c silent! set nobackup nowritebackup noundofile ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_killed_edit_leaves_no_clear_text(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    gone = tmp_path / "gone"
    os.mkfifo(gone)
    # The editor says what it has open; of its end this test learns because the pipe `gone` is closed with it.
    _editor(monkeypatch, tmp_path, f'exec 9> {gone}; echo "$1" > {opened}; exec sleep 60')
    pid = os.fork()
    if pid == 0:
        os.setsid()
        code = 1
        try:
            editing.edit(f"token = '{TOKEN}'")
        except SystemExit as end:
            code = int(str(end.code))
        finally:
            os._exit(code)
    ends = gone.open()
    file = Path(opened.read_text().strip())
    assert TOKEN in file.read_text()
    os.kill(pid, number)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
        until("the folder is gone", lambda: not file.parent.exists(), timeout_s=10)
        os.killpg(pid, signal.SIGKILL)
    else:
        assert code == 128 + number
    assert ends.read() == ""
    ends.close()
    assert not file.parent.exists()


def test_the_tag_control_lets_the_control_host_read_and_without_it_it_does_not(
    site: Path, people: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.parent / "control.age.pub").write_text(f"{_recipient(people['bob'])}\n")

    def reads() -> list[str]:
        assert "not encrypted to exactly" not in _run("list").output
        as_control = Secrets(site, [people["bob"]])
        return [name for name in as_control if as_control.readable(name) and as_control[name].get_secret_value()]

    assert reads() == []
    tag = """sed -i 's/^token = \\(.*\\)/token = { value = \\1, tags = ["control"] }/' "$1" """
    _editor(monkeypatch, tmp_path, f"""grep -q 'encrypted to: alice.$' "$1" && grep -q control "$1" && {tag}""")
    assert _run("edit").output == "token: changed\n"
    assert reads() == ["token"]
    assert "1 of them by the control host too: token" in _run("rekey").output
    assert reads() == ["token"]
    _editor(monkeypatch, tmp_path, """sed -i 's/, tags = .*/ }/' "$1" """)
    assert _run("edit").output == "token: changed\n"
    assert reads() == []


def test_a_control_host_that_is_no_more_has_known_what_it_could_read(site: Path, people: dict[str, Path]) -> None:
    public = site.parent / "control.age.pub"
    public.write_text(f"{_recipient(people['bob'])}\n")
    readers = {"alice": [_recipient(people["alice"])], "control": [_recipient(people["bob"])]}
    write(site, {"token": encrypt(site, "token", TOKEN, readers, ["control"])})
    public.unlink()
    assert "not encrypted to exactly the present admins: token" in _run("list").output
    assert "control has been able to read these: replace them where they are issued: token" in _run("rekey").output
    assert not Secrets(site, [people["bob"]]).readable("token")
