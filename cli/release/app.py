"""What the commands of `mainstay release` share."""

import typer

NOT_PUBLISHABLE = 50
"""Exit code of `check`: something is wrong with the release."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done or publishable, 1 failed, 2 bad usage or bad input, 3 unreachable; "
    "of check 50, not publishable; of audit 51, something is wrong.",
)
