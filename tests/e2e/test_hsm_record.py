"""`mainstay hsm record`: what people type and see at a terminal, in a file that outlives what it is killed by."""

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from roles.signing.tools.ceremony.fingerprints import aloud, of_file
from tests.hsm_site import PASSWORDS, Site, site
from tests.terminal import Terminal
from tests.waiting import until

MAINSTAY = [str(REPOSITORY / ".venv/bin/mainstay")]
SHELL = re.compile(r"bash-[0-9.]+[#$] $")
END = re.compile(r"left out\r\n  SHA256 [0-9a-f ]+\r\n +[0-9a-f ]+\r\n$")


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    return tmp_path / "ceremony.transcript"


def synced(calls: Path, path: Path) -> int:
    """How many bytes of a file are on the disk, as far as a list of calls tells."""
    lines = [line.split() for line in calls.read_text().splitlines()]
    return max((int(size) for name, size in lines if name == str(path)), default=0)


def recorded(path: Path, *command: str) -> "subprocess.Popen[bytes]":
    words = [*MAINSTAY, "hsm", "record", str(path), "--", *command]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_what_is_typed_without_echo_is_nowhere_and_all_else_is(transcript: Path) -> None:
    person = Terminal([*MAINSTAY, "hsm", "record", str(transcript)], os.environ, transcript.parent)
    person.read(SHELL)
    person.type("read -rsp 'Secret: ' x; echo; echo \"it has ${#x}\"; tput cols")
    person.read(re.compile("Secret: $"))
    person.type("correct horse battery")
    shown, _ = person.read(SHELL)
    assert "it has 21" in shown
    person.type("exit 7")
    seen, _ = person.read(END)
    assert person.end()[1] == 7
    text = transcript.read_text()
    assert "correct horse" not in text
    assert re.search(r"^\d\d:\d\d:\d\d bash-[0-9.]+[#$] read -rsp 'Secret: '", text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d it has 21$", text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d 200$", text, re.MULTILINE)
    assert "\n".join(aloud(of_file(transcript))) in seen.replace("\r\n", "\n")
    assert transcript.stat().st_mode & 0o777 == 0o600


def test_what_was_there_is_added_to(transcript: Path) -> None:
    for text in ("first", "second"):
        before = transcript.read_bytes() if transcript.exists() else b""
        assert recorded(transcript, "echo", text).wait(60) == 0
        assert transcript.read_bytes().startswith(before)
    assert re.findall(r"\d (first|second)$", transcript.read_text(), re.MULTILINE) == ["first", "second"]


def test_killed_it_has_what_was_shown(transcript: Path) -> None:
    process = recorded(transcript, "sh", "-c", "echo so far; cat")
    until("it is written", lambda: transcript.exists() and " so far\n" in transcript.read_text())
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert " so far\n" in transcript.read_text()
    assert recorded(transcript, "true").wait(60) == 0
    assert " so far\n" in transcript.read_text()


def test_what_was_shown_is_soon_on_the_disk(transcript: Path) -> None:
    """By the calls that put it there, and the file's size then."""
    calls = transcript.parent / "calls"
    code = (
        "import os, sys\n"
        "real = os.fsync\n"
        "def told(descriptor):\n"
        "    real(descriptor)\n"
        f"    open({str(calls)!r}, 'a').write(os.readlink(f'/proc/self/fd/{{descriptor}}') + ' '"
        " + str(os.fstat(descriptor).st_size) + '\\n')\n"
        "os.fsync = told\n"
        "from cli.main import main\n"
        "main()\n"
    )
    words = [sys.executable, "-c", code, "hsm", "record", str(transcript), "--", "sh", "-c", "echo so far; cat"]
    process = subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        until("it is written", lambda: transcript.exists() and " so far\n" in transcript.read_text())
        size = transcript.read_bytes().index(b" so far\n") + len(b" so far\n")
        until(
            "it is synced",
            lambda: synced(calls, transcript) >= size,
            timeout_s=5,
        )
    finally:
        process.communicate(timeout=60)


def test_where_nothing_can_be_written_any_more_nothing_goes_on(transcript: Path) -> None:
    words = [*MAINSTAY, "hsm", "record", str(transcript), "--", "sh", "-c", "seq 1 5000; cat"]
    done = subprocess.run(
        words,
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )
    assert done.returncode == 1
    assert "nothing goes on unrecorded" in done.stderr
    refused = subprocess.run([*MAINSTAY, "hsm", "record", "/proc/none", "--", "true"], capture_output=True, text=True)
    assert (refused.returncode, "cannot be written" in refused.stderr) == (1, True)


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path / "site") as one:
        one.make()
        yield one


def test_passwords_that_custody_is_given_meanwhile_are_left_out(hsm: Site, transcript: Path) -> None:
    """Also those of programs below it, and of a script's hsm-run."""
    options = f"--file {hsm.file} --password-file {hsm.folder / 'audit'}"
    script = transcript.parent / "script"
    script.write_text(
        f"{MAINSTAY[0]} hsm drain {options}\necho 'it was {PASSWORDS['audit']}.'\n"
        f"{REPOSITORY}/bin/hsm-run {options} -- echo 'again {PASSWORDS['audit']}'\n"
    )
    done = recorded(transcript, "sh", str(script))
    shown, said = done.communicate(timeout=120)
    assert done.returncode == 0, said
    assert PASSWORDS["audit"].encode() in shown
    text = transcript.read_text()
    assert PASSWORDS["audit"] not in text
    assert "it was [left out: a password]." in text
    assert b"2 things left out" in said
