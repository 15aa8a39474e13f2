"""What an audit found, for people and for programs. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.table import Table

from backup.rules import span
from backup.sizes import counted, size
from roles.release.tools.audit.audit import ServerState, Verdict
from roles.release.tools.audit.findings import WRONG, Finding, Kind
from roles.release.tools.audit.truth import channels

FOUND, UNREACHABLE = 51, 3
SHOWN = 20
"""Lines of a kind that people are shown; programs get all."""


@dataclass(frozen=True)
class Device:
    """A row: how many findings fail each of its channels, None where it has no such channel; other: none of these."""

    name: str
    channels: dict[str, int | None]
    other: int


def exit_code(wrong: Iterable[Finding]) -> int:
    """What is wrong counts more than what could not be reached."""
    kinds = {one.kind for one in wrong}
    return FOUND if kinds - {Kind.UNREACHABLE} else UNREACHABLE if kinds else 0


def rows(verdict: Verdict, devices: Sequence[str] = ()) -> list[Device]:
    """Of these devices, or of all."""
    lines = verdict.truth.lines
    names = sorted({*(device for device, _ in lines), *(one.device for one in verdict.wrong if one.device)})
    columns = channels(lines)
    found = []
    for name in (one for one in names if not devices or one in devices):
        counts: Counter[str] = Counter()
        for one in verdict.wrong:
            if one.device == name:
                counts.update(set(one.channel.split(", ")) & {*columns} or {""})
        cells = {column: counts[column] if (name, column) in lines else None for column in columns}
        found.append(Device(name, cells, counts[""]))
    return found


def table(verdict: Verdict, devices: Sequence[str] = ()) -> Table:
    """Devices by channels, over all servers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    names = channels(verdict.truth.lines)
    for name in ("device", *names, "other"):
        made.add_column(name)
    for row in rows(verdict, devices):
        cells = [_cell(row.channels[name]) for name in names]
        made.add_row(row.name, *cells, f"[red]{row.other}[/]" if row.other else "")
    return made


def _cell(count: int | None) -> str:
    return "-" if count is None else f"[red]{count}[/]" if count else "[green]ok[/]"


def server(one: ServerState, now: datetime) -> str:
    """A server in a line."""
    words = ["answers" if one.answers else "does not answer"]
    if one.free is not None:
        words.append(f"serves commit {one.commit[:10] or 'unknown'}")
        words.append(f"{counted(one.packages, 'package')}, {size(one.free)} free")
    if read := one.coverage:
        waits = f", the oldest unread for {span(now - read.oldest)}" if read.oldest and read.share < 1 else ""
        words.append(f"{read.share:.0%} read within 30 days{waits}{' (overdue)' if read.overdue else ''}")
    return f"{one.name}: {'; '.join(words)}"


def lines(found: Sequence[Finding], shown: int = SHOWN) -> list[str]:
    """A line each; of very many of a kind the first, and how many more."""
    said = []
    for kind in Kind:
        mine = [one for one in found if one.kind is kind]
        said += [str(one) for one in mine[:shown]]
        if len(mine) > shown:
            said.append(f"{kind.word}: {len(mine) - shown:,} more (--json has all)")
    return said


def verdict_line(verdict: Verdict) -> str:
    """All in one line."""
    checked = counted(len(verdict.truth.lines), "channel")
    what = f"{checked} on {counted(len(verdict.servers), 'server')}, {verdict.requests:,} requests"
    if not verdict.wrong:
        return f"clean: {what}"
    kinds = Counter(one.kind.word for one in verdict.wrong)
    return f"{counted(len(verdict.wrong), 'finding')} ({', '.join(f'{n} {word}' for word, n in kinds.items())}): {what}"


def as_json(verdict: Verdict, now: datetime, devices: Sequence[str] = ()) -> dict[str, object]:
    """For programs. Sizes in bytes, times in ISO 8601."""
    offers = verdict.truth.offers
    return {
        "time": now.isoformat(),
        "commit": verdict.truth.commit,
        "clean": not verdict.wrong,
        "exit_code": exit_code(verdict.wrong),
        "seconds": round(verdict.seconds, 3),
        "requests": verdict.requests,
        "servers": [_server_json(one) for one in verdict.servers],
        "devices": [
            {
                "device": row.name,
                "channels": {
                    name: {"findings": count, "build": offer.build if (offer := offers.get((row.name, name))) else None}
                    for name, count in row.channels.items()
                    if count is not None
                },
                "other_findings": row.other,
            }
            for row in rows(verdict, devices)
        ],
        "findings": [finding_json(one) for one in verdict.findings],
    }


def _server_json(one: ServerState) -> dict[str, object]:
    read = one.coverage
    return {
        "name": one.name,
        "answers": one.answers,
        "commit": one.commit or None,
        "free": one.free,
        "packages": one.packages,
        "read_ratio": round(read.share, 4) if read else None,
        "read_oldest": read.oldest.isoformat() if read and read.oldest else None,
        "read_overdue": read.overdue if read else None,
    }


def finding_json(one: Finding) -> dict[str, object]:
    """For programs."""
    return {
        "server": one.server,
        "device": one.device,
        "channel": one.channel,
        "path": one.path,
        "kind": one.kind.word,
        "fails": one.kind.severity == WRONG,
        "found": one.found,
        "expected": one.expected,
        "to_do": one.kind.to_do,
    }
