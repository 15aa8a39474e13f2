"""How far it is: bytes with rate and time to go on a terminal, a line for each step elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as Speed


@contextmanager
def bar() -> Iterator[Progress]:
    """Shown on a terminal alone, and gone when it ends."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), Speed())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        yield shown


class Told:
    """Hears how a publication goes, from all servers at once."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown
        self.task: TaskID | None = None

    def step(self, name: str, total: int = 0) -> None:
        if self.task is not None:
            self.shown.remove_task(self.task)
        self.task = self.shown.add_task(name, total=total or None)
        self.note(name)

    def progress(self, count: int) -> None:
        if self.task is not None:
            self.shown.advance(self.task, count)

    def note(self, text: str) -> None:
        self.shown.console.print(text, markup=False, soft_wrap=True)


@contextmanager
def told() -> Iterator[Told]:
    """For as long as a publication takes."""
    with bar() as shown:
        yield Told(shown)
