"""A large file that a host holds by its SHA-256: fetched by the host, or brought from the machine that deploys."""

from collections.abc import Generator
from pathlib import Path

from pyinfra.api.command import FileUploadCommand, PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host

from roles.common.facts import LOOKED, Look

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
mv -T "$1" "$2"
"""
FETCH = 'install -d -m 0755 "$0" && curl --fail --silent --show-error --location --proto =https --output "$1" "$2"'


class Digest(Look):
    """SHA-256 of a file, or no line when it is not there."""

    def command(self, path: str) -> str:
        return f"echo {LOOKED}; test ! -e {path} || sha256sum {path}"


def artifact(name: str, path: str, wanted: str, source: str) -> OperationMeta:
    """The file is there, with that SHA-256; another one takes its place whole, or not at all.

    source: an https address, or a file of this machine. One remote command when nothing changes.
    """
    made: OperationMeta = _artifact(path=path, wanted=wanted, source=source, name=name)
    return made


@operation()
def _artifact(path: str, wanted: str, source: str) -> Generator[PyinfraCommand, None, None]:
    lines = host.get_fact(Digest, path=path)
    if lines is None:
        return
    found = lines[0].split()[0] if lines else ""
    if found == wanted:
        return
    host.log(f"  {path}: {'has another SHA-256' if found else 'is not there'}")
    fresh = f"{path}.new"
    if source.startswith("https://"):
        words = (str(Path(path).parent), fresh, source)
        yield StringCommand("sh", "-c", QuoteString(FETCH), *map(QuoteString, words))
    else:
        yield StringCommand("install", "-d", "-m", "0755", QuoteString(str(Path(path).parent)))
        yield FileUploadCommand(source, fresh)
    yield StringCommand("sh", "-c", QuoteString(CHECK), *map(QuoteString, (wanted, fresh, path)))
