"""`mainstay doctor`: can I work, from this machine and this clone, with these keys?"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cli.options import FAILED, UNREACHABLE, ForPrograms, Inventory, stop

if TYPE_CHECKING:
    from doctor.told import Told

COLOURS = {"ok": "green", "note": "yellow", "wrong": "red", "unreachable": "red"}


def doctor(inventory: Inventory = None, for_programs: ForPrograms = False) -> None:
    """Look whether you can work: this machine, this clone, your keys, a site's files, and the way to its hosts.

    Reads, and changes nothing. Each line says what is wrong and what to run. Without --inventory, only what is of all
    sites. Exit codes: 0 all is well, 1 something is wrong here, 3 only hosts do not answer.
    """
    try:
        from doctor.examination import examine
    except ImportError as error:
        raise stop("doctor", f"{error}: run bin/setup", FAILED) from None
    found = []
    for one in examine(inventory):
        found.append(one)
        if not for_programs:
            _print(one)
    code = _code({one.state for one in found})
    if for_programs:
        typer.echo(json.dumps({"exit_code": code, "checks": [asdict(one) for one in found]}, indent=2))
    raise typer.Exit(code)


def _code(states: set[str]) -> int:
    if "wrong" in states:
        return FAILED
    return UNREACHABLE if "unreachable" in states else 0


def _print(one: "Told") -> None:
    state = typer.style(f"{one.state:<11}", fg=COLOURS[one.state])
    typer.echo(f"{state} {one.check:<10} {one.says}{f' -> {one.mend}' if one.mend else ''}")
