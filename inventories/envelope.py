"""What the repository knows of the sealed envelope: the typed file `envelope.toml` beside the secrets.

    sealed = 2026-11-28
    recipient = "age1..."
    needed = 2
    shares = 3
    repository = "s3:https://s3.example.org/example-backups/control-1/control"
    printed = ["backup_control_1_control", "copy_access_key", "copy_secret_key"]
    letter = '''
    -----BEGIN AGE ENCRYPTED FILE-----
    ...
    '''

Every secret is encrypted to the recipient besides the admins. Its key is in the letter, which the paper has too, and
the letter is encrypted to what the paper alone has (backup/envelope): who has the repository types no more than that.
"""

import json
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from inventories import broken, keys
from inventories.errors import InputError
from inventories.files import replace
from inventories.secrets import armored
from inventories.typed import Typed, input_error

READER = "envelope"
"""What it is called among the readers of a secret."""
FILE = "envelope.toml"
HEADER = """\
# The sealed envelope, by which the secrets are opened when no admin can: docs/runbooks/break-glass.md.
# `mainstay secrets envelope` writes this, and whatever replaces a secret that is printed in it.
"""
ID_LETTERS = 6


def _native(line: str) -> str:
    if not line.startswith("age1"):
        raise ValueError("must be age1...")
    return keys.recipient(line)


class Record(Typed):
    """The envelope that was sealed last."""

    sealed: date
    """In UTC."""
    recipient: Annotated[str, AfterValidator(_native)]
    needed: int = Field(ge=1)
    shares: int = Field(ge=1)
    """So many were printed; 1: the key itself."""
    repository: str = ""
    """Where the letter says that the backup of the control host lies; empty: it does not say."""
    printed: tuple[str, ...] = ()
    """Names of the secrets that the letter holds."""
    replaced: dict[str, date] = {}
    """Those of them that have another value since."""
    letter: Annotated[str, AfterValidator(armored)]

    @property
    def id(self) -> str:
        """What tells it from others, on every sheet of it."""
        return identify(self.recipient)


def identify(recipient: str) -> str:
    """What an envelope is called, by its recipient."""
    return recipient.removeprefix("age1")[:ID_LETTERS].upper()


def read(files: Path) -> Record | None:
    """Of a site's files; None where none was sealed. Raises InputError."""
    path = files / FILE
    hint = "restore it from git, or finish the merge: keep the side whose envelope is the one that exists on paper"
    try:
        return Record.model_validate(broken.toml(path, path.read_bytes(), hint))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise input_error(path, error) from error


def write(files: Path, record: Record) -> None:
    """Puts it in the place of the one before."""
    replace(files / FILE, HEADER + "".join(_lines(record)))


def _lines(record: Record) -> Iterator[str]:
    yield f'sealed = {record.sealed}\nrecipient = "{record.recipient}"\n'
    yield f"needed = {record.needed}\nshares = {record.shares}\n"
    if record.repository:
        yield f"repository = {json.dumps(record.repository)}\nprinted = {json.dumps(record.printed)}\n"
    yield f"letter = '''\n{record.letter}\n'''\n"
    if record.replaced:
        yield "\n[replaced]\n" + "".join(f"{name} = {day}\n" for name, day in sorted(record.replaced.items()))


def outdate(files: Path, replaced: Collection[str]) -> None:
    """Writes down which of the printed secrets have other values now. The caller has the folder locked."""
    record = read(files)
    hit = {*replaced} & {*record.printed} if record else set()
    if record and hit:
        today = datetime.now(UTC).date()
        write(files, record.model_copy(update={"replaced": record.replaced | dict.fromkeys(hit, today)}))
