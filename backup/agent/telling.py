"""What a run says while it runs: JSON lines, or words on a terminal. Whoever listens may go away; the run goes on."""

import json
import sys
from dataclasses import asdict
from typing import Any

from backup.entry import Entry, render
from backup.restic_results import Progress
from backup.sizes import counted, size


def clean(said: str) -> str:
    """Words in which names of files stand, without what would steer a terminal."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in said)


class Telling:
    """On standard output; as_json: one object a line, `{"kind": "progress" | "note" | "end", ...}`."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.on_terminal = sys.stdout.isatty() and not as_json
        self.open_line = False
        self.gone = False

    @property
    def is_watched(self) -> bool:
        """Whether anybody sees the progress."""
        return self.as_json or self.on_terminal

    def progress(self, progress: Progress) -> None:
        if self.as_json:
            self._object("progress", asdict(progress))
        elif self.on_terminal:
            left = "" if progress.seconds_left is None else f", {progress.seconds_left} s left"
            files = f"{progress.files:,} of {counted(progress.files_total, 'file')}"
            self._write(f"\r\x1b[K{progress.fraction:4.0%}  {files}, {size(progress.bytes)}{left}")
            self.open_line = True

    def note(self, text: str) -> None:
        if self.as_json:
            self._object("note", {"text": text})
        else:
            self._line(text)

    def end(self, entry: Entry) -> None:
        if self.as_json:
            self._object("end", {"entry": json.loads(render(entry))})
            return
        seconds = ((entry.end or entry.start) - entry.start).total_seconds()
        what = f"{entry.kind} of {entry.host}:{entry.plan}: {entry.outcome}"
        added = f", {size(entry.bytes_added)} new" if entry.kind == "backup" else ""
        much = f" {counted(entry.files, 'file')}, {size(entry.bytes)}{added}, {seconds:.0f} s"
        which = f"; snapshot {entry.snapshot[:8]}" if entry.snapshot else ""
        self._line(f"{what};{much}{which}")
        for path, why in entry.unread:
            self._line(f"  not read: {path}: {why}")
        if entry.unread_count > len(entry.unread):
            self._line(f"  and {entry.unread_count - len(entry.unread)} more were not read")
        if entry.error:
            self._line(f"  {entry.error}")

    def _object(self, kind: str, content: dict[str, Any]) -> None:
        self._write(json.dumps({"kind": kind} | content) + "\n")

    def _line(self, text: str) -> None:
        start = "\r\x1b[K" if self.open_line else ""
        self.open_line = False
        self._write(f"{start}{clean(text)}\n")

    def _write(self, text: str) -> None:
        if self.gone:
            return
        try:
            sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
            sys.stdout.buffer.flush()
        except OSError:
            self.gone = True
