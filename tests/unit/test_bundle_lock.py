"""The lock of bundles: what it may say, and what a change of it reads like."""

from pathlib import Path

import pytest

from bundle import lock, repository, wheels
from bundle.lock import Package
from inventories.errors import InputError

A, B = "a" * 64, "b" * 64
CHRONY = Package("chrony", "4.6-1", "amd64", A)
LIBC = Package("libc6", "1:2.41+deb13u5~x", "amd64", B)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bundle.lock"
    locked = {"base": lock.locked(["sudo", "chrony"], [LIBC, CHRONY]), "signing": lock.locked(["x"], [CHRONY])}
    lock.write(path, locked)
    assert lock.read(path) == locked
    assert locked["base"].packages == (CHRONY, LIBC)
    assert locked["base"].wanted == ("chrony", "sudo")


def test_without_a_file_nothing_is_locked(tmp_path: Path) -> None:
    assert lock.read(tmp_path / "bundle.lock") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[base", "is not TOML"),
        ('[base]\nfor = []\npackages = ["chrony 1 amd64"]', "base.packages.0"),
        (f'[base]\nfor = []\npackages = ["../x 1 amd64 {A}"]', "base.packages.0"),
        ("[base]\nfor = []\npackages = []", "base.packages"),
        (f'[base]\npackages = ["chrony 1 amd64 {A}"]', "base.for"),
    ],
)
def test_bad_content_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bundle.lock"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        lock.read(path)


def test_changes_are_told_by_package() -> None:
    newer = Package("chrony", "4.7-1", "amd64", B)
    rebuilt = Package("libc6", LIBC.version, "amd64", A)
    sudo = Package("sudo", "1", "amd64", A)
    assert lock.differences([CHRONY, sudo], [newer, LIBC]) == [
        "~ chrony 4.6-1 -> 4.7-1",
        f"+ libc6 {LIBC.version}",
        "- sudo 1",
    ]
    assert lock.differences([LIBC], [rebuilt]) == [f"~ libc6 {LIBC.version} -> {LIBC.version} (another file)"]
    assert lock.differences([LIBC], [LIBC]) == []


def test_a_files_name_has_no_colon() -> None:
    assert LIBC.file == "libc6_1%3a2.41+deb13u5~x_amd64.deb"


def test_an_index_says_what_is_there() -> None:
    stanza = "Package: {0.name}\nDescription: x\n Version: 9\nVersion: {0.version}\n"
    stanza += "Architecture: amd64\nSHA256: {0.sha256}\n"
    assert list(repository.read("\n".join(map(stanza.format, (CHRONY, LIBC))))) == [CHRONY, LIBC]
    with pytest.raises(ValueError, match="SHA256"):
        list(repository.read("Package: x\nVersion: 1\nArchitecture: all\n"))


def test_wheels_are_those_of_the_target_wherever_they_are_fetched() -> None:
    exported = """\
# comment
cffi==2.1.1 ; platform_python_implementation != 'PyPy' \\
    --hash=sha256:bb \\
    --hash=sha256:aa
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cc
click==8.5.1 \\
    --hash=sha256:dd
typing-extensions==4.16.0 ; python_full_version < '3.13' \\
    --hash=sha256:ee
"""
    assert wheels.for_target(exported) == [
        "cffi==2.1.1 --hash=sha256:bb --hash=sha256:aa",
        "click==8.5.1 --hash=sha256:dd",
    ]
