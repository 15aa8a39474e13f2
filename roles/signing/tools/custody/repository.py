"""The logs' repository: lines are added to a device's last file, written through to the disk, and committed.

A run that dies leaves lines that are in no commit. The next one takes them away: their slots are not freed before the
commit, so the device still has them.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from roles.signing.tools.custody import records
from roles.signing.tools.custody.entries import Entry
from roles.signing.tools.custody.git import Git, sync_folder
from roles.signing.tools.custody.records import LINES, Record
from roles.signing.tools.errors import HsmError


class Log:
    """One device's, in the repository. To be used while `Git.alone` holds."""

    def __init__(self, git: Git, serial: int) -> None:
        """Raises HsmError where the files are not what was committed, and a dead run does not explain it."""
        self._git, self._serial = git, serial
        self._number, self._lines = self._settled()

    def last(self) -> Entry | None:
        """The newest entry. Raises HsmError."""
        try:
            for number in range(self._number, 0, -1):
                lines = self._lines if number == self._number else self._path(number).read_text().splitlines()
                if found := records.last_entry(lines):
                    return found
        except (OSError, ValueError) as error:
            raise HsmError(f"{self._path(number)}: {error}; `mainstay hsm verify` says more") from None
        return None

    def add(self, fresh: Sequence[Record]) -> None:
        """They are on the disk and committed when this returns. Raises HsmError, OSError."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        left = [records.line(record, now) for record in fresh]
        changed, new = [], []
        while left:
            if len(self._lines) >= LINES or not self._number:
                self._number, self._lines = self._number + 1, []
                new.append(records.name(self._serial, self._number))
            room = LINES - len(self._lines)
            _append(self._path(self._number), "".join(left[:room]))
            self._lines += left[:room]
            left = left[room:]
            changed.append(records.name(self._serial, self._number))
        entries = [record.number for record in fresh if isinstance(record, Entry)]
        what = f"entries {entries[0]} to {entries[-1]}" if entries else "no entry"
        others = len(fresh) - len(entries)
        what += f", {others} of another kind" if others else ""
        self._git.commit(f"{self._serial}: {what}", *changed, new=new)

    def _path(self, number: int) -> Path:
        return self._git.folder / records.name(self._serial, number)

    def _settled(self) -> tuple[int, list[str]]:
        """Number and lines of the last file, without what is in no commit; 0 where there is none."""
        folder = self._git.folder / str(self._serial)
        numbers = sorted(int(path.stem) for path in folder.glob("*.jsonl")) if folder.exists() else []
        for number in reversed(numbers):
            path = self._path(number)
            committed, there = self._git.blob(records.name(self._serial, number)), path.read_bytes()
            if not there.startswith(committed):
                told = "is not what was committed: it was changed by hand, or the disk lost it"
                raise HsmError(f"{path}: {told}; look at `git -C {self._git.folder} diff`, and put it back")
            if there != committed:
                with path.open("r+b") as file:
                    file.truncate(len(committed))
                    os.fsync(file.fileno())
            if committed:
                return number, committed.decode().splitlines(keepends=True)
            path.unlink()
            sync_folder(folder)
        return 0, []


def _append(path: Path, text: str) -> None:
    """On the disk when this returns, with the names that lead to it."""
    made = not path.exists()
    if not path.parent.exists():
        path.parent.mkdir()
        sync_folder(path.parent.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        rest = text.encode()
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if made:
        sync_folder(path.parent)
