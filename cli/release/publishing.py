"""`publish`: a release goes to all servers, and one commit offers it to phones."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any

import typer
from rich.console import Console

from backup.reach import reach
from backup.sizes import counted, size
from cli.options import FAILED, ForPrograms, Inventory, Without, chosen, stop
from cli.release.app import NOT_PUBLISHABLE, Devices, Dry, app, failures
from cli.release.checking import hearing
from cli.release.progress import Told, told
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.release.tools import dry as rehearsal
from roles.release.tools.audit.findings import Finding
from roles.release.tools.audit.told import exit_code, finding_json
from roles.release.tools.audit.told import lines as lines_of
from roles.release.tools.changes import for_phones
from roles.release.tools.check import Verdict, check
from roles.release.tools.layout import lay
from roles.release.tools.offers import FIRST, lines
from roles.release.tools.places import opened
from roles.release.tools.publication import Publication, publication
from roles.release.tools.publish import METADATA, Run, Site
from roles.release.tools.publish import publish as publish_
from roles.release.tools.signature import CERTIFICATES
from roles.release.tools.standing import base


@dataclass(frozen=True)
class Asked:
    """How a command is to go about it."""

    without: tuple[str, ...]
    only_say: bool
    for_programs: bool


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The release, laid out as the archive is.")],
    channel: Annotated[str, typer.Option(help="Where phones are offered it.")] = FIRST,
    devices: Devices = None,
    certificates: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"DEVICE.x509.pem of each; default: {CERTIFICATES} in the site's files."),
    ] = None,
    without: Without = None,
    only_say: Dry = False,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Publish a release: checked, brought to every server, read back there, and only then offered, by one commit.

    Killed anywhere, it is run again, by whomever, and goes on; `abandon` takes back what was begun.
    Exit code 50 when the release is not publishable.
    """
    for_phones(channel, "--channel")
    site = chosen(inventory)
    with failures(), reach(site) as way, told() as hear:
        where = opened(way, without or ())
        verdict = _checked(site, where, folder, certificates)
        if not verdict.publishable:
            for problem in verdict.problems:
                hear.note(f"  {problem}")
            why = f"{folder} is not publishable: {counted(len(verdict.problems), 'problem')}; nothing is published"
            raise stop("release", why, NOT_PUBLISHABLE)
        if gone := sorted({*where.retired} & ({*devices} if devices else {one.device for one in verdict.offers})):
            hint = "publish the others by --device, or take it from `retired`"
            raise InputError("--device", "", f"retired: {', '.join(gone)}", hint)
        texts = {key: (folder / path).read_text() for key, path in lay(folder).changelogs.items()}
        what = publication(verdict, channel, devices or (), texts)
        carry_out(site, where, what, folder, hear, Asked(tuple(without or ()), only_say, for_programs))


def _checked(site: LoadedSite, where: Site, folder: Path, certificates: Path | None) -> Verdict:
    """Against what phones are offered; of what was begun already, what they were offered then. Raises Away."""
    against = lines(where.metadata.files(base(where), METADATA))
    with hearing() as hear:
        return check(folder, certificates or site.files / CERTIFICATES, against, hear)


def carry_out(
    site: LoadedSite,
    where: Site,
    what: Publication,
    folder: Path,
    hear: Told,
    asked: Asked,
    hindered: Callable[[], list[Finding]] = list,
) -> None:
    """Publishes, or says what that would do. folder: of the packages; hindered: what keeps it from being offered."""
    who, now = f"{site.ssh_user} on {gethostname()}", datetime.now(UTC)
    about = {"id": what.id, "channel": what.channel, "builds": what.builds, "left_out": asked.without}
    if asked.only_say:
        would, found = rehearsal.dry(where, what, who, now, hear), hindered()
        would_pass = would.would_pass and not found
        if asked.for_programs:
            findings = [finding_json(one) for one in found]
            told_ = about | asdict(would) | {"findings": findings, "would_pass": would_pass}
            typer.echo(json.dumps(told_, indent=2))
        else:
            _tell(would, found)
        raise typer.Exit(exit_code(found) or (0 if would_pass else FAILED))
    commit = publish_(Run(where, what, folder, hear, who, now, lambda: _judge(hindered(), hear)))
    servers = [one.name for one in where.places]
    if asked.for_programs:
        typer.echo(json.dumps(about | {"commit": commit, "servers": servers}, indent=2))
    else:
        typer.echo(f"{what.title}: published on {', '.join(servers)} by {commit[:10]}")
    for one in asked.without:
        hear.note(f"{one} was left out: `mainstay release sync`, or the same command again, once it is back")


def _judge(found: Sequence[Finding], hear: Told) -> None:
    if found:
        for line in lines_of(found):
            hear.note(f"  {line}")
        why = f"{counted(len(found), 'finding')} on what is to be offered: nothing is published; mend it, or leave a "
        raise stop("release", f"{why}server out by --without", exit_code(found))


def _tell(would: rehearsal.Dry, found: Sequence[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for one in would.servers:
        what: Any = f"{counted(one.files, 'file')}, {size(one.bytes)}, to upload; {size(one.free)} free"
        console.print(f"{one.name}: {one.refuses or what}")
        for path in one.lacks:
            console.print(f"{one.name}: lacks {path}")
    console.print("\nmetadata:" if would.diff else "\nmetadata: nothing changes")
    console.print(would.diff, end="")
    if would.diff:
        console.print(f"\ncommit:\n{would.message}", end="")
    if found:
        console.print("\nan audit of what is to be offered found:")
        for line in lines_of(found):
            console.print(f"  {line}")
    console.print("\nnothing was changed" + ("" if would.would_pass and not found else "; it would be refused"))
