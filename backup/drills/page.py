"""All drills as one page of HTML that needs nothing else: no script, no style or image from elsewhere.

Newest drills of each data set, and those that went wrong of late, are shown in full; older ones in a line each.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backup.drills import told
from backup.drills.glance import Drilled
from backup.drills.overdue import trouble, word
from backup.drills.report import Report
from backup.page_style import STYLE, code
from backup.rules import ago
from backup.sizes import clean
from inventories.files import replace

FULL = 3
"""So many of a data set's newest drills are shown in full, ..."""
BAD_FOR = timedelta(days=30)
"""... and all that went wrong in that time, ..."""
TRIED, FULL_AT_MOST = 60, 600_000
"""... as long as they are not more than so many, and not more text than this."""
LINES_AT_MOST, LINE_AT_MOST = 20, 300
"""Of what a check or a phase told: lines, and characters of each."""
LOG_AT_MOST = 6000
"""Characters of a log: the last."""
TEMPLATE = Path(__file__).with_name("page.html.j2")
LABELS = (
    "data set",
    "last proved",
    "last drill",
    "recovery point, of budget",
    "recovery time, of budget",
    "trend",
    "restored",
    "next due",
)
OWN_STYLE = """
body { overflow-wrap: anywhere }
thead th, td strong { overflow-wrap: normal }
a { color: inherit }
h3, h4 { font-size: 1rem; margin: 1.25rem 0 .25rem }
h4 { color: var(--faint) }
details { border: 1px solid var(--line); border-radius: .25rem; margin: .5rem 0; padding: 0 .75rem }
details[open] { padding-bottom: .75rem }
summary { cursor: pointer; margin: 0 -.75rem; padding: .5rem .75rem }
summary strong { white-space: nowrap }
ul.told { list-style: none; margin: 0; padding: 0 }
ul.told li { background: none; border: 0; margin: 0; padding: 0 }
dl { display: grid; gap: .25rem 1rem; grid-template-columns: 12rem 1fr; margin: .5rem 0 }
dt { color: var(--faint) }
dd { margin: 0 }
pre {
  background: var(--box); font: .8125rem/1.4 ui-monospace, monospace; margin: .25rem 0; max-height: 24rem;
  overflow-y: auto; padding: .5rem .75rem; white-space: pre-wrap;
}
svg { display: block; fill: currentColor }
svg.trend { height: 1.5rem; width: 7.5rem }
svg.bar { background: var(--box); height: .75rem; margin-top: .375rem; max-width: 100%; width: 20rem }
svg .limit { fill: var(--text) }
@media (min-width: 44.01rem) {
  details tbody th { min-width: 6rem }
  .took { white-space: nowrap }
  .proves { width: 32% }
}
@media (min-width: 56rem) {
  [aria-labelledby="sets"] tbody th { min-width: 11.5rem }
}
@media (max-width: 44rem) {
  td { grid-template-columns: 8rem minmax(0, 1fr) }
  dl { gap: 0; grid-template-columns: 1fr }
  dd { margin-bottom: .5rem }
}
@media print {
  details::details-content { block-size: auto; content-visibility: visible; overflow: visible }
  pre { max-height: none; overflow: visible }
}
"""


def render(all_: Sequence[Drilled], now: datetime, site: str) -> str:
    """The page's text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_cleaned
    )
    environment.filters |= {"code": lambda text: code(clean(text)), "lines": _lines, "log": _log}
    template = environment.from_string(TEMPLATE.read_text())
    shared: Any = template.make_module({"now": now, "told": told, "ago": lambda time: ago(time, now), "look": look})
    full = _in_full(all_, now, lambda report, is_open: str(shared.drill(report, word(report, now), is_open)))
    styles = Markup(STYLE + OWN_STYLE)  # noqa: S704
    text = str(
        shared.page(
            all=all_,
            site=site,
            full=full,
            style=styles,
            labels=LABELS,
            verdict=told.verdict(all_),
            word=lambda report: word(report, now),
            trend=_trend,
        )
    )
    return text.lstrip()


def write(path: Path, all_: Sequence[Drilled], now: datetime, site: str) -> None:
    """Puts the page there, whole or not at all, readable for all."""
    replace(path, render(all_, now, site), 0o644)


def look(shown: str) -> str:
    """The class of a word for how a drill, phase or check ended."""
    if shown in ("passed", "done", "fault caught"):
        return "ok"
    return "warning" if shown in ("degraded", "running", "could not start", "abandoned", "not judged") else "critical"


def _in_full(all_: Sequence[Drilled], now: datetime, show: Any) -> dict[str, Markup]:
    """By their ids, the drills that are shown in full, the newest of each data set first."""
    found: dict[str, Markup] = {}
    left = FULL_AT_MOST
    for report, is_open in islice(_worth_it(all_, now), TRIED):
        if report.id in found:
            continue
        text = show(report, is_open)
        if len(text) <= left:
            found[report.id] = Markup(text)  # noqa: S704
            left -= len(text)
    return found


def _worth_it(all_: Sequence[Drilled], now: datetime) -> Iterator[tuple[Report, bool]]:
    """Reports, and whether one lies open: the newest, when it went wrong."""
    for place in range(FULL):
        for one in all_:
            if len(one.own) > place:
                yield one.own[place], place == 0 and trouble(one.own[0], now) is not None
    for one in all_:
        yield from ((report, False) for report in one.own if trouble(report, now) and now - report.begun < BAD_FOR)


def _cleaned(value: Any) -> Any:
    """What no template wrote is without what would steer a terminal or a reader."""
    return clean(value) if type(value) is str else value


def _lines(told: Sequence[str]) -> list[str]:
    """The first lines, each no longer than people read."""
    shown = [one if len(one) <= LINE_AT_MOST else f"{one[:LINE_AT_MOST]} [...]" for one in told[:LINES_AT_MOST]]
    more = len(told) - LINES_AT_MOST
    return [*shown, f"and {more:,} more, in the report"] if more > 0 else shown


def _log(text: str) -> Markup:
    """The end of a log, its lines as they are."""
    shown = text if len(text) <= LOG_AT_MOST else f"[...]{text[-LOG_AT_MOST:]}"
    return Markup("\n").join(clean(line) for line in shown.splitlines())


def _trend(times: Sequence[float]) -> list[tuple[int, int]]:
    """Where each bar of ten stands and how high it is, of 100 by 20."""
    most = max(times, default=0) or 1
    return [(at * 10, max(1, round(max(0, one) / most * 20))) for at, one in enumerate(times)]
