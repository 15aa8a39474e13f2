"""`restore`: one repository out of a backup, beside the others of the running server; and of it one ref back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from backup import restoring
from backup.agent import ref_manifest
from backup.agent.attempt import Refused
from backup.agent.refs import RefsError
from backup.agent.restoring import SNAPSHOT
from backup.custody import DataSet
from backup.ledger import LedgerError
from backup.reach import Unreachable, reach
from backup.restic_compare import literally
from backup.restic_process import ResticError
from backup.sizes import counted
from backup.store import COPY, STORES
from cli.backup.restoring import bring
from cli.gerrit.app import app
from cli.options import BAD_USAGE, FAILED, UNREACHABLE, Inventory, chosen, stop
from inventories.inventory import LoadedSite
from roles.gerrit.tools import rest
from roles.gerrit.tools import restore as gerrits
from roles.gerrit.tools import restore_names as names
from roles.gerrit.tools.restore_copy import NotRestored
from roles.gerrit.tools.server import ROLE, host_of

Refs = Annotated[list[str] | None, typer.Option("--ref", metavar="REF", help="This one alone; can be repeated.")]


@app.command()
def restore(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="With --into: the copy.")],
    ref: Refs = None,
    snapshot: Annotated[str, typer.Option(metavar="ID", help="Default: the newest complete one.")] = "",
    copy: Annotated[
        str, typer.Option(metavar="WHICH", help="Of backups: vault or second; default: as they answer.")
    ] = "",
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="Default: PROJECT-restored-DATE.")] = "",
    into: Annotated[str, typer.Option(metavar="PROJECT", help="Put --ref of a copy back into this one.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="With --into: also where it has another value.")] = False,
    inventory: Inventory = None,
) -> None:
    """Put a repository out of a backup beside the others of the running Gerrit, under a new name.

    Administrators alone see it. Branches and tags are as they were; all other refs, like those of changes, are below
    refs/restored/, where Gerrit makes nothing of them. Needs restic and git here. With --into single refs of such a
    copy are put back into the original, all of them or none, and only where there is none of that name.
    """
    wanted = list(dict.fromkeys(ref or ()))
    for option, text, why in (
        ("PROJECT", project, names.project(project)),
        ("--as", as_, as_ and names.project(as_)),
        ("--into", into, into and names.project(into)),
        *(("--ref", one, names.ref(one)) for one in wanted),
    ):
        if why:
            raise stop("gerrit", f"{option} {text!r}: {why}", BAD_USAGE)
    if (into and (snapshot or copy or as_ or not wanted)) or (replace and not into):
        told = "--into goes with --ref, and with --replace; the other options are for a new copy"
        raise stop("gerrit", told, BAD_USAGE)
    if snapshot and not SNAPSHOT.fullmatch(snapshot):
        raise stop("gerrit", f"--snapshot {snapshot}: must be at least 8 hexadecimal digits of an id", BAD_USAGE)
    if copy and copy not in STORES:
        raise stop("gerrit", f"--copy {copy}: must be one of {', '.join(STORES)}", BAD_USAGE)
    site = chosen(inventory)
    if STORES.get(copy) == COPY and not site.fleet.backup.copy_:
        raise stop("gerrit", "--copy second: this site has no second copy", BAD_USAGE)
    with _running(site) as gerrit:
        if into:
            for line in gerrits.put_back(gerrit, project, into, wanted, replace=replace):
                typer.echo(line)
            return
        name = as_ or names.default(project, datetime.now(UTC).date())
        if gerrit.exists(name):
            raise NotRestored(f"there is a project {name} already: take another --as")
        with TemporaryDirectory(prefix="mainstay-") as scratch:
            files = [f"{gerrits.below(project)}", ref_manifest.FILE]
            include = tuple(f"/{literally(one)}" for one in files)
            target = Path(scratch, "restored")
            only = STORES[copy] if copy else ""
            done = bring(gerrit.way, restoring.Wish(DataSet(gerrit.host, ROLE), target, snapshot, include, only))
            count = gerrits.copied(gerrit, target, project, name, wanted, done.source)
    many = counted(count, "ref")
    typer.echo(f"{name} holds {many} of {project}, {done.source}; administrators alone see it")


FAILURES = (
    NotRestored,
    rest.Refused,
    Refused,
    restoring.NotRestored,
    RefsError,
    ResticError,
    LedgerError,
    OSError,
)
"""What may go wrong beside a host that does not answer."""


@contextmanager
def _running(site: LoadedSite) -> Iterator[gerrits.Gerrit]:
    """The site's, and what may go wrong with it as words and an exit code."""
    try:
        with reach(site) as way, rest.connected(site) as server:
            yield gerrits.Gerrit(way, host_of(site), server)
    except Unreachable as error:
        raise stop("gerrit", error, UNREACHABLE) from None
    except FAILURES as error:
        raise stop("gerrit", error, FAILED) from None
