"""`checklist`: what people print before a ceremony."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.hsm.app import Declaration, Devices, app, failures
from cli.options import BAD_USAGE, ForPrograms, stop
from inventories.files import replace
from roles.signing.tools.ceremony import kinds, page, paper
from roles.signing.tools.state import loading


@app.command()
def checklist(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=" | ".join(kinds.KINDS))],
    file: Declaration,
    devices: Devices = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a page, too, which a browser prints.")
    ] = None,
    for_programs: ForPrograms = False,
) -> None:
    """Print a checklist made from hsm.toml: who types what on the signing host, what it shows, what is read aloud.

    Needs no device, and of files only hsm.toml; where certificates lie beside it, the hashes of their keys are printed.
    """
    if kind not in kinds.KINDS:
        raise stop("hsm checklist", f"{kind}: there are: {', '.join(kinds.KINDS)}", BAD_USAGE)
    with failures("checklist"):
        made = kinds.checklist(loading.load(file), kind, devices or ())
    if html:
        replace(html, page.html(made))
    if for_programs:
        typer.echo(json.dumps(made.as_json(), indent=2))
    elif html:
        typer.echo(f"written: {html}", err=True)
    else:
        typer.echo(paper.text(made), nl=False)
