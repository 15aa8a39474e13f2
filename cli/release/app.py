"""What the commands of `mainstay release` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from backup.reach import Unreachable
from cli.options import FAILED, UNREACHABLE, stop
from roles.common.publishing.servers import Away, ServerError
from roles.release.tools.publish import PublishError
from roles.release.tools.repository import RepositoryError

NOT_PUBLISHABLE = 50
"""Exit code of `check` and `publish`: something is wrong with the release."""
ORDER = ("check", "publish", "promote", "rollback", "status", "audit", "sync", "abandon", "prune")
"""The commands as an admin needs them; any others follow."""
Devices = Annotated[list[str] | None, typer.Option("--device", help="Of this one alone; may be repeated.")]
Without = Annotated[
    list[str] | None, typer.Option(metavar="SERVER", help="Leave it out: it is down, and catches up later.")
]
Dry = Annotated[bool, typer.Option("--dry", help="Say what would be done, and change nothing.")]
ForPrograms = Annotated[bool, typer.Option("--json", help="For programs.")]


class InOrder(TyperGroup):
    """Lists the commands by ORDER, not as their modules are read."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done or publishable, 1 failed, 2 bad usage or bad input, 3 unreachable; "
    "of check and publish 50, not publishable; of audit, promote and rollback 51, something is wrong.",
)


@contextmanager
def failures() -> Iterator[None]:
    """Turns what may go wrong on the way into words and an exit code."""
    try:
        yield
    except (Away, Unreachable) as error:
        raise stop("release", error, UNREACHABLE) from None
    except (ServerError, RepositoryError, PublishError) as error:
        raise stop("release", error, FAILED) from None
