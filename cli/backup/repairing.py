"""`restic`: restic itself, for what this software has no command for."""

import subprocess
from typing import Annotated

import typer

from backup import control
from backup.custody import ADMIN
from backup.reach import reach
from backup.restic_process import given
from backup.store import COPY, VAULT
from cli.backup.app import DataSetName, app, failures
from cli.options import BAD_USAGE, Inventory, chosen, stop


@app.command("restic", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def restic_(
    data_set: DataSetName,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="For restic: `repair index`, `ls latest`")],
    copy: Annotated[bool, typer.Option("--copy", help="The second copy's, not the vault's.")] = False,
    inventory: Inventory = None,
) -> None:
    """Run restic itself on a data set's repository at the vault, with the admins' credential, which may delete.

    Address and passwords reach it in memory. Options of this command come before DATA_SET. Exit code as of restic.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    if copy and not site.fleet.backup.copy_:
        raise stop("backup", "this site declares no second copy", BAD_USAGE)
    with failures(), reach(site) as way, way.store(COPY if copy else VAULT, ADMIN) as store:
        restic = store.restic(one)
        with given(restic.repository) as (environment, held, options):
            command = [restic.program, *options, *words]
            code = subprocess.run(command, env=environment, pass_fds=held, check=False).returncode
    raise typer.Exit(code)
