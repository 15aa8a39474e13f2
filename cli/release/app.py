"""What the commands of `mainstay release` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from backup.reach import Unreachable
from cli import lazy
from cli.options import FAILED, UNREACHABLE, stop
from roles.common.publishing.servers import Away, ServerError
from roles.release.tools.publish import PublishError
from roles.release.tools.repository import RepositoryError

NOT_PUBLISHABLE = 50
"""Exit code of `check` and `publish`: something is wrong with the release."""
COMMANDS = {
    "check": "checking",
    "publish": "publishing",
    "promote": "changing",
    "rollback": "changing",
    "status": "standing",
    "audit": "auditing",
    "sync": "standing",
    "abandon": "standing",
    "prune": "pruning",
    "requests": "requests",
}
"""The module of each, as an admin needs them."""
Devices = Annotated[list[str] | None, typer.Option("--device", help="Of this one alone; may be repeated.")]
Dry = Annotated[bool, typer.Option("--dry", help="Say what would be done, and change nothing.")]


app = lazy.commands(
    "cli.release",
    COMMANDS,
    "Exit codes: 0 done or publishable, 1 failed, 2 bad usage or bad input, 3 unreachable; "
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
