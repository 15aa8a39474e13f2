"""`mainstay runbook`: a page each for the day when something is lost, or is to be done."""

import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from cli import lazy
from cli.options import ForPrograms
from inventories.errors import InputError

PAGES = Path(__file__).parents[1] / "docs/runbooks"
WHEN = re.compile(r"^\*\*When\*\*: (.*?)(?=\n\n|\n\*\*|\Z)", re.MULTILINE | re.DOTALL)
app = lazy.application()


class Page(NamedTuple):
    """name: of its file. when: what it is for."""

    name: str
    title: str
    when: str


@app.command("list")
def list_(for_programs: ForPrograms = False) -> None:
    """List the runbooks, and when each is for."""
    found = pages()
    if for_programs:
        typer.echo(json.dumps([page._asdict() for page in found], indent=2))
        return
    table = Table("runbook", "when", box=None, pad_edge=False, header_style="bold")
    for page in found:
        table.add_row(page.name, page.when.partition(". ")[0].removesuffix("."))
    Console().print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="As `list` tells it.")]) -> None:
    """Show one: on a terminal to be read, else as it stands."""
    names = [page.name for page in pages()]
    if name not in names:
        like = get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"do you mean {' or '.join(like)}?" if like else "`mainstay runbook list` tells which there are"
        raise InputError("NAME", "", f"there is no runbook {name!r}", hint)
    text = (PAGES / f"{name}.md").read_text()
    console = Console()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        typer.echo(text, nl=False)


def pages() -> list[Page]:
    """All there are, by name."""
    return [_page(path) for path in sorted(PAGES.glob("*.md")) if path.name != "README.md"]


def _page(path: Path) -> Page:
    text = path.read_text()
    when = WHEN.search(text)
    return Page(path.stem, text.partition("\n")[0].removeprefix("# "), " ".join(when[1].split()) if when else "")
