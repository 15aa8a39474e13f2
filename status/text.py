"""A site on a terminal: first what needs a person, then how all is."""

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backup.sizes import clean
from status import told
from status.site import Whole, to_do

COLOURS = {"unseen": "bold red", "critical": "red", "warning": "yellow", "ok": "green", "": ""}
GAP = 2
"""Between columns."""
INDENT = 4


def show(whole: Whole, console: Console) -> None:
    """Prints it."""
    say = console.print
    say(f"{whole.site}, {whole.time:%Y-%m-%d %H:%M} UTC: {whole.verdict}", markup=False, style="bold")
    for _, one in whole.findings:
        first = Text(f"{one.severity:<8} ", style=COLOURS[one.severity])
        say(first + Text(f"{clean(one.about)}: {one.kind}: {clean(one.what)}", style=""), soft_wrap=True)
        say(Text(f"         -> {to_do(one)}"), soft_wrap=True)
    for looked in whole.looked:
        if looked.why:
            say(Text(f"\n{looked.source.title}: not seen"), style="bold red")
        for table in looked.seen.tables:
            say()
            for part in shown(table, console.width):
                say(part)
        for note in looked.seen.notes:
            say(Text(f"said: {clean(' '.join(note.split()))}"), soft_wrap=True)


def shown(one: told.Table, width: int) -> Iterator[RenderableType]:
    """A table; one that is too wide for the terminal as a paragraph of each row, as a table would break its words."""
    rows = [one.labels, *([row.name, *(words for words, _ in row.cells)] for row in one.rows)]
    columns = zip(*rows, strict=True)
    needed = sum(max(len(clean(words)) for words in column) for column in columns) + GAP * len(one.labels)
    if needed <= width:
        yield _table(one)
        return
    yield Text(one.title, style="bold")
    for row in one.rows:
        yield from _paragraph(one.labels, row)


def _table(one: told.Table) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0), title_justify="left")
    for label in one.labels:
        made.add_column(label, no_wrap=True)
    for row in one.rows:
        made.add_row(Text(clean(row.name)), *(_cell(cell) for cell in row.cells))
    return made


def _paragraph(labels: Sequence[str], row: told.Row) -> Iterator[RenderableType]:
    """Its name and its last cell, which is its state, then the others with what they are."""
    *cells, last = row.cells
    yield Text.assemble(clean(row.name), "  ", _cell(last))
    parts = [Text.assemble((f"{label} ", "dim"), _cell(cell)) for label, cell in zip(labels[1:], cells, strict=False)]
    yield Padding(Text(", ").join(parts), (0, 0, 0, INDENT))


def _cell(cell: told.Cell) -> Text:
    words, look = cell
    return Text(clean(words), style=COLOURS[look])
