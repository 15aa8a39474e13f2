"""What a laptop takes over from the control host's folder (backup/collected.py has its files), and when it does not."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from backup.collected import contradiction, has, path_of, postpone, whole_lines
from backup.entry import Entry
from backup.ledger import LEDGER_AT_MOST, LedgerError, check, read
from inventories.files import replace


def take(folder: Path, theirs: Path, data_sets: Iterable[tuple[str, str]], *, older: bool = False) -> list[str]:
    """Takes in the control host's folder. Returns what in it contradicts what was here before; both are kept then.

    data_sets: hosts and plans. older: theirs comes from a backup, and may be behind what is here. Who broke into the
    control host may have put anything there: what is no ledger that can be read is as if it were not there.
    """
    contradicted = []
    for host, plan in data_sets:
        for kind in ("", ".control"):
            mine, fresh = whole_lines(folder, host, plan, kind), _given(path_of(theirs, host, plan, kind))
            if fresh.startswith(mine):
                if fresh != mine:
                    replace(path_of(folder, host, plan, kind), fresh, 0o600)
            elif not (older and mine.startswith(fresh)):
                replace(path_of(folder, host, plan, f"{kind}.other"), fresh, 0o600)
                contradicted.append(contradiction(folder, host, plan, kind))
        _follow(path_of(folder, host, plan, ".rejected"), _given(path_of(theirs, host, plan, ".rejected")))
        when = _given(theirs / host / "heard")
        _follow(folder / host / "heard", when if _is_a_time(when) else b"")
    return contradicted


def taken(host: str, plan: str) -> list[str]:
    """The files that `take` looks for, below the control host's folder."""
    return [*(str(path_of(Path(), host, plan, kind)) for kind in ("", ".control", ".rejected")), f"{host}/heard"]


def settle(folder: Path, theirs: Path, host: str, plan: str, *, dry: bool) -> list[Entry] | None:
    """Goes by the control host's own record of a data set, where that contradicted what is here; None: it did not.

    Returns what that record lacks, which then waits to be handed over. theirs: as just taken. Broken off, it can be
    given again. Raises LedgerError: a chain is broken, its past has what was not there, or the host said another thing.
    """
    lacks: list[Entry] | None = None
    for kind in ("", ".control"):
        mine, other = (path_of(folder, host, plan, f"{kind}{end}") for end in ("", ".other"))
        if not other.exists():
            continue
        lacks = []
        if _given(path_of(theirs, host, plan, kind)).startswith(whole_lines(folder, host, plan, kind)):
            if not dry:
                other.unlink()
            continue
        if not kind:
            raise LedgerError(other, 0, f"what the host wrote down is not what it was before ({mine})")
        there, here = check(other), check(mine)
        _only_goes_on(other, there, here, read(path_of(folder, host, plan, ".pending")))
        lacks = [one for one in here if one.kind != "collect" and not has(there, one)]
        if not dry:
            for entry in lacks:
                postpone(folder, entry)
            other.replace(mine)
    return lacks


def _only_goes_on(other: Path, there: Sequence[Entry], here: Sequence[Entry], given: Sequence[Entry]) -> None:
    """Raises LedgerError when a record has what is not here and was written before it was last seen.

    given: what this machine handed over, and has not seen in it since.
    """
    newest = max((one.written for one in here), default=None)
    for one in there:
        if newest and one.written <= newest and not has(here, one) and not has(given, one):
            raise LedgerError(other, one.seq, f"tells of {one.kind} at {one.written:%Y-%m-%d %H:%M}, and did not then")


def _given(path: Path) -> bytes:
    """The whole lines of another machine's file; none if it is not there, no file, or more than one can be."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file() or path.stat().st_size > LEDGER_AT_MOST:
        return b""
    found = path.read_bytes()
    return found[: found.rfind(b"\n") + 1]


def _follow(mine: Path, theirs: bytes) -> None:
    if theirs:
        replace(mine, theirs, 0o600)
    else:
        mine.unlink(missing_ok=True)


def _is_a_time(said: bytes) -> bool:
    try:
        return datetime.fromisoformat(said.decode().strip()).tzinfo is not None
    except ValueError:
        return False
