"""Large files that a host holds by their SHA-256: fetched by the host, or brought from the machine that deploys."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api.command import FileUploadCommand, PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host, state

from roles.common.facts import LOOKED, Look, lines
from roles.common.operations import files_to_come

CHECK = """
set -eu
found=$(sha256sum "$1" | cut -c-64)
if [ "$found" != "$0" ]; then
    rm "$1"
    echo "what came for $2 has the SHA-256 $found, and $0 is declared: nothing was changed" >&2
    exit 1
fi
chmod 0644 "$1"
sync "$1"
"""
FETCH = 'install -d -m 0755 "$0" && curl --fail --silent --show-error --location --proto =https --output "$1" "$2"'
PLACE = 'set -eu; for path in "$@"; do mv -T "$path.new" "$path"; done'


@dataclass(frozen=True)
class Artifact:
    """A file of a host. source: an https address, or a file of this machine."""

    path: str
    sha256: str
    source: str


class Digests(Look):
    """SHA-256 of the files on stdin; no line for what is not there."""

    kind = "files"

    def command(self) -> str:
        return f"echo {LOOKED}; tr '\\n' '\\0' | xargs -0 sha256sum -- 2>/dev/null; true"


def artifacts(name: str, wanted: Sequence[Artifact]) -> OperationMeta:
    """The files are there, each with its SHA-256; others take their places when all have come, or not at all.

    One remote command when nothing changes.
    """
    made: OperationMeta = _artifacts(wanted=tuple(wanted), name=name)
    return made


@operation()
def _artifacts(wanted: Sequence[Artifact]) -> Generator[PyinfraCommand, None, None]:
    found = host.get_fact(Digests, **lines([one.path for one in wanted]))
    if found is None:
        return
    has = {line[66:]: line[:64] for line in found}
    due = [one for one in wanted if has.get(one.path) != one.sha256]
    for one in due:
        host.log(f"  {one.path}: {'has another SHA-256' if one.path in has else 'is not there'}")
        yield from _brought(one)
    if not due:
        return
    if not state.is_executing:
        files_to_come[host.name].update(one.path for one in due)
    yield StringCommand("sh", "-c", QuoteString(PLACE), "place", *(QuoteString(one.path) for one in due))


def _brought(one: Artifact) -> Generator[PyinfraCommand, None, None]:
    """To a name beside its own, and checked there."""
    fresh, folder = f"{one.path}.new", str(Path(one.path).parent)
    if one.source.startswith("https://"):
        yield StringCommand("sh", "-c", QuoteString(FETCH), *map(QuoteString, (folder, fresh, one.source)))
    else:
        yield StringCommand("install", "-d", "-m", "0755", QuoteString(folder))
        yield FileUploadCommand(one.source, fresh)
    yield StringCommand("sh", "-c", QuoteString(CHECK), *map(QuoteString, (one.sha256, fresh, one.path)))
