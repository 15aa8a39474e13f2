"""Seals an envelope: a new recipient that every secret is encrypted to, and the pages that its key is printed on.

The pages are written first, then the record, then the secrets, each whole or not at all. What is killed before the
record has changed nothing here, and its pages open nothing; after it `mainstay secrets rekey` ends what was begun.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backup.envelope import key, letter, pages
from backup.envelope.lines import Name, Sheet
from inventories import departed, editing, envelope, keys
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import LoadedSite


@dataclass(frozen=True)
class Sealed:
    """record: as it is in the repository now. pages: what is to be printed. secrets: how many it opens."""

    record: envelope.Record
    pages: tuple[Path, ...]
    secrets: int


def seal(site: LoadedSite, needed: int, shares: int, folder: Path) -> Sealed:
    """Seals another envelope. needed, shares: so many of so many open it; 1, 1: there is one key.

    Raises InputError before anything is written; also when one of the secrets cannot be read here.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("--out", "", f"{folder} is not an empty folder", "name one that is not there yet")
    departed.read(site.files)  # which is written then, too
    before = envelope.read(site.files)
    plain = {name: _plain(site, name) for name in site.secrets}
    way = letter.way(site, site.secrets)
    identity, secret = keys.new_age(), key.new()
    today = datetime.now(UTC).date()
    locked = key.lock(secret, letter.write(site, str(today), identity, way))
    record = envelope.Record(
        sealed=today,
        recipient=keys.public_age(identity),
        needed=needed,
        shares=shares,
        repository=way.repository if way else "",
        printed=way.names if way else (),
        letter=key.armored(locked),
    )
    readers = {**site.readers, envelope.READER: (record.recipient,)}
    kinds = {**key.rows(secret, needed, shares), key.LETTER: key.letter_rows(locked)}
    made = pages.render(site, record, before, _sheets(site, record, kinds))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, text in made.items():
        replace(folder / name, text, 0o600)
    envelope.write(site.files, record)
    if plain:
        editing.apply(site.secrets.path, site.secrets.entries, plain, readers)
    return Sealed(record, tuple(folder / name for name in made), len(plain))


def split(shares: str) -> tuple[int, int]:
    """How many are needed, of how many, as `--shares` says it. Raises InputError."""
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})", shares)
    needed, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if (needed, count) != (1, 1) and not 2 <= needed <= count <= key.MOST:
        hint = f"K/N: K of N open it, 2 to {key.MOST}; leave it out for one key"
        raise InputError("--shares", "", f"{shares!r} is no number of shares", hint)
    return needed, count


def _plain(site: LoadedSite, name: str) -> editing.Plain:
    return editing.Plain(site.secrets[name].get_secret_value(), site.secrets.entries[name].tags)


def _sheets(site: LoadedSite, record: envelope.Record, kinds: Mapping[str, tuple[str, ...]]) -> list[Sheet]:
    named = (site.name.upper(), str(record.sealed), record.id)
    return [Sheet(Name(*named, kind), rows) for kind, rows in kinds.items()]
