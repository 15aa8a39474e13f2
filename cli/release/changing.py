"""`promote` and `rollback`: one commit each, and no package."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from backup.reach import Reach, reach
from cli.options import ForPrograms, Inventory, Without, chosen
from cli.release.app import Devices, Dry, app, failures
from cli.release.progress import Told, told
from cli.release.publishing import Asked, carry_out
from inventories.errors import InputError
from roles.release.archive import Offer
from roles.release.tools.audit.findings import Finding
from roles.release.tools.audit.site import hindered
from roles.release.tools.changes import for_phones, past, promotion
from roles.release.tools.changes import rollback as rollback_
from roles.release.tools.offers import lines
from roles.release.tools.places import opened
from roles.release.tools.publication import Publication
from roles.release.tools.publish import METADATA, Site
from roles.release.tools.standing import base

NO_FOLDER = Path()
"""There is nothing to upload."""


@app.command()
def promote(
    build: Annotated[str, typer.Argument(help="As channel lines name it.")],
    source: Annotated[str, typer.Option("--from", metavar="CHANNEL", help="Where it is offered.")],
    target: Annotated[str, typer.Option("--to", metavar="CHANNEL", help="Where it is to be offered too.")],
    devices: Devices = None,
    without: Without = None,
    only_say: Dry = False,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Offer a build on one more channel, to all devices that have it on the first, by one commit.

    An audit of these packages and devices must find every server right, else the exit code is 51 and nothing is done.
    No phone is offered less than before.
    """
    for channel, option in ((source, "--from"), (target, "--to")):
        for_phones(channel, option)
    site = chosen(inventory)
    with failures(), reach(site) as way, told() as hear:
        where = opened(way, without or ())
        files = where.metadata.files(base(where), METADATA)
        what = promotion(files, build, source, target, devices or (), where.retired)
        asked = Asked(tuple(without or ()), only_say, for_programs)
        carry_out(site, where, what, NO_FOLDER, hear, asked, partial(_hindered, way, where, what, hear))


@app.command()
def rollback(
    device: Annotated[str, typer.Argument(help="Of this one.")],
    channel: Annotated[str, typer.Option(help="What its phones are on.")],
    to: Annotated[str, typer.Option(metavar="BUILD", help="Default: what was offered before.")] = "",
    without: Without = None,
    only_say: Dry = False,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Offer a device's phones what they were offered before, by one commit.

    Phones that have updated stay as they are: they compare timestamps, and never go back. An audit must find the build
    that they go back to right on every server, else the exit code is 51; how the other one is does not matter.
    """
    for_phones(channel, "--channel")
    site = chosen(inventory)
    with failures(), reach(site) as way, told() as hear:
        where = opened(way, without or ())
        what, now = _back(where, device, channel, to)
        [then] = what.offers
        hear.note(f"Phones that have taken {now.build} keep it: they compare timestamps and never go back. They are")
        hear.note(f"offered nothing until a build comes that is later than {now.build}. All others are offered")
        hear.note(f"{then.offer.build}; those that have it already are offered nothing.")
        asked = Asked(tuple(without or ()), only_say, for_programs)
        carry_out(site, where, what, NO_FOLDER, hear, asked, partial(_hindered, way, where, what, hear))


def _hindered(way: Reach, where: Site, what: Publication, hear: Told) -> list[Finding]:
    hear.step("audit")
    return hindered(way, [one.name for one in where.places], what, datetime.now(UTC))


def _back(where: Site, device: str, channel: str, to: str) -> tuple[Publication, Offer]:
    """By what the channel has offered; and what it offers now. Raises InputError."""
    commit = base(where)
    now = lines(where.metadata.files(commit, METADATA)).get((device, channel))
    if now is None or device in where.retired:
        raise InputError("DEVICE", "", f"{device} is offered nothing on {channel}", "status tells what there is")
    return rollback_(device, channel, past(where.metadata, commit, device, channel), to, now), now
