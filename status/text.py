"""A site on a terminal: first what needs a person, then how all is."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backup.sizes import clean
from status import told
from status.site import Whole, to_do

COLOURS = {"unseen": "bold red", "critical": "red", "warning": "yellow", "ok": "green", "": ""}


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
            say(_table(table))
        for note in looked.seen.notes:
            say(Text(f"said: {clean(' '.join(note.split()))}"), soft_wrap=True)


def _table(one: told.Table) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), title_justify="left")
    name, *others = one.labels
    made.add_column(name, no_wrap=True)
    for label in others:
        made.add_column(label, overflow="fold")
    for row in one.rows:
        made.add_row(Text(clean(row.name)), *(Text(clean(words), style=COLOURS[look]) for words, look in row.cells))
    return made
