"""What the wrapper makes of a run that says little: by a program in restic's place."""

from pathlib import Path

import pytest

from backup.restic import Restic
from backup.restic_process import Repository, ResticError
from backup.restic_results import Unread

SUMMARY = (
    '{"message_type":"summary","total_files_processed":1,"files_new":1,"files_changed":0,"total_bytes_processed":1}'
)
AGAIN = '{"message_type":"error","error":{"message":"lost; storing the file again"},"during":"archival","item":"/a"}'
SCANNED = '{"message_type":"error","error":{"message":"denied"},"during":"scan","item":"/a"}'


def says(folder: Path, code: int, *errors: str) -> Restic:
    program = folder / "restic"
    lines = "\n".join(f"echo '{line}' >&2" for line in errors)
    program.write_text(f"#!/bin/sh\n{lines}\necho '{SUMMARY}'\nexit {code}\n")
    program.chmod(0o755)
    return Restic(Repository("/nowhere", "x", cache=folder / "cache"), str(program))


@pytest.mark.parametrize(
    ("code", "errors", "unread"),
    [
        (0, [], []),
        (3, [], ["restic could not read all of it"]),
        (3, [SCANNED], ["restic could not read all of it"]),
        (3, [AGAIN], []),
        (0, ["a b cannot be accessed, skipping"], ["cannot be accessed"]),
    ],
)
def test_an_exit_code_that_says_incomplete_is_believed(
    tmp_path: Path, code: int, errors: list[str], unread: list[str]
) -> None:
    done = says(tmp_path, code, *errors).backup(tmp_path, ["a b", "."], host="alice", tags=["data"])
    assert [one.why for one in done.unread] == unread
    named = (
        Unread("a b", "cannot be accessed") if code == 0 else Unread(str(tmp_path), "restic could not read all of it")
    )
    assert set(done.unread) <= {named}


def test_a_restic_that_is_too_old_is_told_as_such(tmp_path: Path) -> None:
    old = says(tmp_path, 1, "unknown flag: --sparse")  # as 0.14, which is Debian 12's
    with pytest.raises(ResticError, match=r"unknown flag: --sparse: this restic is too old"):
        old.restore("latest", tmp_path)
