"""What the commands of `mainstay drill` share."""

import typer

from cli import lazy

OVERDUE = 45
"""Exit code of `list`: a data set is not drilled as it should be."""

COMMANDS = {
    "run": "running",
    "site": "running",
    "sweep": "running",
    "list": "looking",
    "show": "looking",
    "report": "reporting",
}
"""The module of each, as an admin needs them."""

app = lazy.commands(
    "cli.drill",
    COMMANDS,
    "Exit codes: 0 done or passed, 1 failed, 2 bad usage or bad input, 3 unreachable; of a drill 40 degraded, "
    "41 failed, 42 over budget, 43 could not start, 44 abandoned; of list 45, one is overdue or its last went wrong.",
)


def say(text: str) -> None:
    """For people, apart from what a command prints."""
    typer.echo(text, err=True)
