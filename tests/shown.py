"""What a machine shows while something runs on it: processes and files, of which nothing may hold a secret."""

import base64
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

Shown = set[tuple[str, bytes]]
"""Where, and what."""


@contextmanager
def shown(*folders: Path) -> Iterator[Shown]:
    """Command lines and environments of every process of this machine, which are those of its hosts too, and every
    file below the folders, over and over, for as long as it lasts."""
    found: Shown = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    _add(found, process / part)
            for path in (path for folder in folders for path in folder.rglob("*")):
                _add(found, path)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _add(found: Shown, path: Path) -> None:
    try:
        found.add((str(path), path.read_bytes()))
    except OSError:  # gone, another's, or a folder
        return


def forms(value: str) -> set[bytes]:
    """What a secret looks like where it lies: as it is, in an address, and inside of base64.

    Of several lines the last of the longest: keys of a kind begin alike."""
    line = max(reversed(value.splitlines()), key=len)
    found = {line.encode(), quote(line, safe="").encode()}
    for before in range(3):  # how many bytes of something else share its first group of base64
        whole = base64.b64encode(b"-" * before + line.encode())
        found.add(whole[4 if before else 0 : len(whole) // 4 * 4 - 4])
    return found - {b""}


def holding(secrets: Iterable[str], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """Where one of the secrets is."""
    wanted = {form for value in secrets for form in forms(value)}
    return sorted({place for place, content in places if any(form in content for form in wanted)})
