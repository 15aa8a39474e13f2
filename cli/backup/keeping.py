"""`accept`, `forget` and `rotate`: what an admin answers for."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from backup import accepting, control, record, rotation
from backup.reach import reach
from cli.backup.app import DataSetName, app, failures, say
from cli.options import FAILED, Inventory, chosen, stop


def given(why: str) -> str:
    """The reason, which may not be blank."""
    if not why.strip():
        raise typer.BadParameter("is blank; say it for those who come after you")
    return why


@app.command()
def accept(
    data_set: DataSetName,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Snapshots, as status names them.")],
    why: Annotated[
        str, typer.Option(metavar="TEXT", callback=given, help="What you looked at, for those who come after you.")
    ],
    inventory: Inventory = None,
) -> None:
    """Vouch for snapshots that are gone, back-dated or unknown, so that they are no finding any more.

    Who, when and why are written down beside what the control side did.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    with failures(), reach(site) as way:
        control.collect(way, [one], say)
        with way.stores(say) as stores:
            [looked] = control.look(way, stores, [one], say)
        if looked.unseen:
            raise stop("backup", f"{one} cannot be looked at: {looked.unseen}", FAILED)
        found = accepting.amiss(looked, now := datetime.now(UTC))
        accepted = accepting.meant(data_set, ids, found)
        for store, those in accepting.where(looked, accepted, now).items():
            control.accept(site, one, those, why, store)
        record.hand_over(site, say)
    for identity in accepted:
        typer.echo(f"{one}: {identity[:8]} ({found[identity].word}): accepted by {site.ssh_user}")


@app.command()
def forget(
    data_set: DataSetName,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Snapshots, as `restic snapshots` names them.")],
    why: Annotated[
        str, typer.Option(metavar="TEXT", callback=given, help="What they are, for those who come after you.")
    ],
    inventory: Inventory = None,
) -> None:
    """Remove snapshots from the vault and the second copy, though their plan keeps them.

    What an intruder saved, or what nobody may keep. Never all that a store has. Who, when and why are written down.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    with failures(), reach(site) as way:
        control.collect(way, [one], say)
        control.forget(way, one, ids, why, typer.echo)


@app.command()
def rotate(data_set: DataSetName, inventory: Inventory = None) -> None:
    """Give a data set's repositories and its host a new password, and remove the old one when it is proved.

    The host is deployed by pyinfra. Broken off at any moment, run it again: it goes on where it stopped.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    with failures(), reach(site) as way:
        try:
            rotation.rotate(way, one, typer.echo)
        except rotation.RotationError as error:
            raise stop("backup", error, FAILED) from None
