"""`verify` and `accept`: the logs in custody, without a device."""

import getpass
import json
from pathlib import Path
from typing import Annotated

import typer

from backup.sizes import counted
from cli.hsm.app import Declaration, app, failures
from cli.options import BAD_USAGE, ForPrograms, stop
from roles.signing.tools import places
from roles.signing.tools.custody import verifying
from roles.signing.tools.custody.entries import KINDS
from roles.signing.tools.custody.git import Git
from roles.signing.tools.custody.records import Accepted
from roles.signing.tools.custody.repository import Log
from roles.signing.tools.custody.verifying import Verified


@app.command()
def verify(
    file: Declaration,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMMAND@KEY=COUNT",
            help="Signatures of a release, like sign-pkcs1@0x0101=30; can be repeated. There must be no others.",
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="COMMIT", help="Of the logs' repository: count the signatures after it.")
    ] = "",
    repository: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another clone of the logs than log.repository.")
    ] = None,
    for_programs: ForPrograms = False,
) -> None:
    """Verify all logs in custody: each chain of digests, a history that only added, and what was signed by which key.

    Needs no device. Exit codes: 54 an incident that nobody accepted, or a log that was changed; 55 signatures that
    are not those of --expect.
    """
    try:
        expected = verifying.expectations(expect) if expect else None
    except ValueError as error:
        raise stop("hsm verify", f"--expect {error}", BAD_USAGE) from None
    if since.startswith("-"):
        raise stop("hsm verify", f"--since {since}: is no commit", BAD_USAGE)
    with failures("verify"):
        found = verifying.verify(Git(repository or places.read(file).repository), expected, since)
    if for_programs:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _tell(found)
    raise typer.Exit(found.exit_code)


@app.command()
def accept(
    file: Declaration,
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="As hsm.toml calls it.")],
    why: Annotated[str, typer.Option(help="What happened, for whoever reads the log later.")],
) -> None:
    """Vouch for all incidents in a device's log so far: a person looked into them. It is recorded in the log."""
    if not why.strip():
        raise stop("hsm accept", "--why: say what happened", BAD_USAGE)
    with failures("accept"):
        custody = places.read(file)
        (place,) = custody.chosen([device])
        git = Git(custody.repository)
        found = next((one for one in verifying.verify(git).logs if one.serial == place.serial), None)
        if not found or not found.open:
            raise stop("hsm accept", f"{place}: there is no incident to accept", BAD_USAGE)
        with git.alone():
            Log(git, place.serial).add([Accepted(why.strip(), getpass.getuser())])
        git.push()
    typer.echo(f"{place}: accepted: {', '.join(one.told for one in found.open)}")


def _tell(found: Verified) -> None:
    for log in found.logs:
        accepted = f", {counted(log.accepted, 'incident')} accepted" if log.accepted else ""
        typer.echo(f"{log.serial}: {counted(log.entries, 'entry', 'entries')} to {log.last}, {log.drained}{accepted}")
        for (command, key), count in sorted(log.signatures.items()):
            typer.echo(f"  {command} by {key:#06x}: {count:,}")
        for incident in log.open:
            typer.secho(f"  INCIDENT, {KINDS[incident.kind]}: {incident.told}", fg="red")
        for problem in log.problems:
            typer.secho(f"  {problem}", fg="red")
    for problem in (*found.problems, *found.miscounted):
        typer.secho(problem, fg="red")
    if not found.exit_code:
        typer.secho("every chain is whole, and the history only added to them", fg="green")
