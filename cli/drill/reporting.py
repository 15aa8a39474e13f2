"""`report`: all drills as a page, for programs, or by mail."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from backup.drills import book, page, told
from backup.notify import NotTold, mail
from backup.watch import channels
from cli.drill.app import app, say
from cli.drill.looking import as_json, drills
from cli.options import FAILED, Inventory, chosen, stop
from inventories.errors import InputError
from inventories.files import replace


@app.command()
def report(
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="As one page that needs nothing else.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="All of it, for programs.")] = None,
    by_mail: Annotated[bool, typer.Option("--mail", help="A summary, by this machine's sendmail.")] = False,
    inventory: Inventory = None,
) -> None:
    """Report all drills that are known: as a page, for programs, by mail; with none of these, in short.

    By mail it goes to the administrators: `admin` of `settings.base.mail`.
    """
    site, now = chosen(inventory), datetime.now(UTC)
    all_ = drills(site, now)
    if html:
        page.write(html, all_, now, site.name)
    if json_:
        known = [one.model_dump(mode="json") for one in book.reports(book.folder(site), lambda _: None)]
        replace(json_, json.dumps(as_json(all_, now) | {"reports": known}, indent=1) + "\n", 0o644)
    summary = told.summary(all_, now)
    if by_mail:
        to = channels(site)
        if not to.mail:
            raise InputError(site.path, "settings.base.mail", "there is no address to send to", "give it an `admin`")
        try:
            mail(to, f"restore drills: {told.verdict(all_)}", summary)
        except NotTold as error:
            raise stop("drill", error, FAILED) from None
        say(f"sent to {to.mail}")
    if not (html or json_ or by_mail):
        typer.echo(summary, nl=False)
