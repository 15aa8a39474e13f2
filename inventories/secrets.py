"""The site's secrets: encrypted with age in the repository, decrypted in memory when one is asked for.

`secrets.age` is a TOML file with one table a secret, each encrypted by itself:

    [vultr_api_key]
    readers = ["alice SHA256:...", "bob age1..."]
    tags = ["drill"]
    value = '''
    -----BEGIN AGE ENCRYPTED FILE-----
    ...
    '''

One value at a time rather than the whole file, for review and merging: a diff shows which secret changed and who may
read it, an unchanged one keeps its bytes, and two people who add different secrets merge without a conflict. The price
is that names and numbers of secrets are public to readers of the repository, and (in steps of 128 bytes) their length.

`readers` says, with the very keys, who can decrypt that value, so that whoever cannot knows whom to ask and `stale`
tells what a change of admins left behind. It is no secret and not authenticated. What is encrypted is the line
`NAME = "VALUE"`, so that a value moved under another name is noticed, and `age -d` alone recovers a readable file. age
does not say who wrote: that a value is the right one is what review of commits is for.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pyrage
import tomlkit
from pydantic import AfterValidator, Field, SecretStr, ValidationError

from inventories import broken, identities, keys
from inventories.errors import InputError
from inventories.files import locked, replace
from inventories.typed import Typed

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
TAG = re.compile(r"[a-z][a-z0-9-]*")
ARMOR = re.compile(r"-----BEGIN AGE ENCRYPTED FILE-----\n[A-Za-z0-9+/=\n]+\n-----END AGE ENCRYPTED FILE-----")
PAD_BYTES = 128
CONTROL = "control"
"""The tag of what the control host may read besides the admins, and what that host is called among the readers."""
CONTROL_KEY = "control_age_key"
"""The secret by which the control host reads: who knows it reads whatever that host may read."""
DRILL = "drill"
"""The tag of what a restore drill needs, and the control host may read for it."""
SHARED = frozenset({CONTROL, DRILL})
"""Each of these tags has a secret encrypted to the control host too."""
HEADER = """\
# Secrets, each encrypted by itself with age: who may read it stands in the clear, the value does not.
# Change with `mainstay secrets edit`, never by hand; docs/security.md says what to do when an admin comes or goes.
"""
Readers = Mapping[str, Sequence[str]]
"""Recipients (age1..., or ssh-ed25519 lines) by the name of whom they belong to: LoadedSite.readers."""


def armored(value: str) -> str:
    """An age file as text. Raises ValueError for what is none."""
    if not ARMOR.fullmatch(value.strip()):
        raise ValueError("is not an age file in armor")
    return value.strip()


class Entry(Typed):
    """One secret as it lies in the file."""

    value: Annotated[str, AfterValidator(armored)]
    readers: tuple[str, ...] = Field(min_length=1)
    """`NAME LABEL` for each recipient, see keys.label."""
    tags: tuple[Annotated[str, Field(pattern=f"^{TAG.pattern}$")], ...] = ()
    """What it may be used for besides; one of SHARED lets the control host read it."""


class UnreadableError(InputError):
    """None of the keys here is among the readers of a secret."""


class Secrets:
    """The secrets in one file. Reading it decrypts nothing; `secrets["name"]` does, once."""

    def __init__(self, path: Path, given: Sequence[Path] | None = None) -> None:
        """Identities default to those of identities.find. A missing file holds no secrets. Raises InputError."""
        self.path = path
        self.entries = read(path)
        self._given = given
        self._identities: list[identities.Identity] | None = None
        self._decrypted: dict[str, SecretStr] = {}

    @staticmethod
    def create(path: Path, readers: Readers, values: Mapping[str, str]) -> None:
        """Writes a new file. Raises FileExistsError, and InputError for bad names, values or recipients."""
        if path.exists():
            raise FileExistsError(path)
        write(path, {name: encrypt(path, name, value, readers) for name, value in values.items()})

    def __repr__(self) -> str:
        return f"Secrets({str(self.path)!r}, {len(self)} names)"

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __getitem__(self, name: str) -> SecretStr:
        """Decrypts a value. Raises InputError: no such secret, or none of the keys here can read it (and who can)."""
        if name not in self._decrypted:
            if name not in self.entries:
                known = f"it holds: {', '.join(self) or 'nothing'}" if self.path.exists() else "the file does not exist"
                hint = f"{known}; add it with `mainstay secrets edit`"
                raise InputError(self.path, name, "no such secret", hint)
            self._decrypted[name] = SecretStr(self._decrypt(name))
        return self._decrypted[name]

    def at(self, path: Path) -> "Secrets":
        """Another file, read with the same keys."""
        return Secrets(path, self._given)

    def unlocked(self) -> "Secrets":
        """The same file, read with those of its keys alone that no passphrase locks: nobody is asked for one."""
        return Secrets(self.path, [one.path for one in identities.find(self._given) if not one.locked])

    def tagged(self, tag: str) -> tuple[str, ...]:
        """Names of the secrets that carry a tag."""
        return tuple(name for name in self if tag in self.entries[name].tags)

    def shared(self) -> tuple[str, ...]:
        """Names of the secrets that are for the control host too."""
        return tuple(name for name in self if SHARED & {*self.entries[name].tags})

    def readable(self, name: str) -> bool:
        """Whether one of the keys here is among its readers, as far as that can be told without a passphrase."""
        return bool(self._candidates(name))

    def _candidates(self, name: str) -> list[identities.Identity]:
        if self._identities is None:
            self._identities = identities.find(self._given)
        readers = {reader.split(" ", 1)[-1] for reader in self.entries[name].readers}
        mine = [identity for identity in self._identities if not identity.labels or identity.labels & readers]
        return sorted(mine, key=lambda identity: (identity.locked, not identity.labels))

    def _decrypt(self, name: str) -> str:
        entry = self.entries[name]
        for identity in self._candidates(name):
            try:
                plain = pyrage.decrypt(entry.value.encode(), identity.unlock())
            except pyrage.DecryptError:
                if identity.labels:
                    hint = "restore the file from git, or have another reader run `mainstay secrets rekey`"
                    problem = f"is damaged, or was not encrypted to {identity.path} as its readers say"
                    raise InputError(self.path, name, problem, hint) from None
                continue
            return _value(self.path, name, plain)
        tried = ", ".join(str(identity.path) for identity in self._identities or []) or "no key was found"
        who = "; ".join(entry.readers)
        hint = f"can be read by: {who}. Tried: {tried}. Name yours by ${identities.VARIABLE}, or ask them to run"
        raise UnreadableError(self.path, name, "none of your keys can decrypt it", f"{hint} `mainstay secrets rekey`")


def read(path: Path) -> dict[str, Entry]:
    """The entries of a file, none decrypted; a missing file has none. Raises InputError."""
    try:
        return parse(path, path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}") from error


def parse(path: Path, content: bytes) -> dict[str, Entry]:
    """The entries in the content of a file; `path` is only named in errors. Raises InputError."""
    hint = (
        "`mainstay secrets edit` writes this file: restore it from git, or finish the merge that left it so: of each"
        " secret keep one side whole, then `mainstay secrets rekey`"
    )
    tables = broken.toml(path, content, hint)
    if not content.strip():
        raise InputError(path, "", "is empty: it was cut off when it was written", hint)
    entries = {}
    for name, table in tables.items():
        check_name(path, name)
        try:
            entries[name] = Entry.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            field = ".".join([name, *map(str, first["loc"])])
            problem = f"{first['msg'].removeprefix('Value error, ')}{broken.since(content, name)}"
            raise InputError(path, field, problem, hint) from None
    return entries


def check_name(path: Path, name: str) -> None:
    """Raises InputError when this cannot be the name of a secret."""
    if not NAME.fullmatch(name):
        raise InputError(path, name[:63], "cannot be the name of a secret", "use lower-case letters, digits and _")


def encrypt(path: Path, name: str, value: str, readers: Readers, tags: Sequence[str] = ()) -> Entry:
    """Encrypts one value to those whom its tags allow; `path` is only named in errors.

    Raises InputError, never naming the value.
    """
    readers = allowed(readers, tags)
    check_name(path, name)
    if not value:
        raise InputError(path, name, "is empty", "give it a value, or leave it out")
    try:
        lines = [keys.recipient(line) for _, line in _pairs(readers)]
    except ValueError as error:
        raise InputError(path, name, f"cannot be encrypted: {error}") from None
    if not lines:
        raise InputError(path, name, "nobody could read it", "declare an admin in admins.toml first")
    plain = tomlkit.dumps({name: value}).encode()
    padded = plain + b"\n" * (-len(plain) % PAD_BYTES)
    armor: bytes = pyrage.encrypt(padded, [keys.as_recipient(line) for line in lines], armored=True)
    return Entry(value=armor.decode(), readers=labels(readers), tags=tuple(tags))


def allowed(readers: Readers, tags: Sequence[str]) -> Readers:
    """Who of them may read a secret with these tags: every admin, the control host if one of SHARED is there."""
    return {owner: lines for owner, lines in readers.items() if owner != CONTROL or SHARED & {*tags}}


def labels(readers: Readers) -> tuple[str, ...]:
    """What `Entry.readers` says of these recipients."""
    return tuple(f"{owner} {keys.label(line)}" for owner, line in _pairs(readers))


def owners(entry: Entry) -> tuple[str, ...]:
    """Names of those who can decrypt it, sorted."""
    return tuple(sorted({reader.split(" ")[0] for reader in entry.readers}))


def stale(entries: Mapping[str, Entry], readers: Readers) -> tuple[str, ...]:
    """Names of the secrets that are not encrypted to exactly those of these readers whom their tags allow."""
    return tuple(
        name
        for name, entry in sorted(entries.items())
        if set(entry.readers) != set(labels(allowed(readers, entry.tags)))
    )


def write(path: Path, entries: Mapping[str, Entry]) -> None:
    """Writes a file whole and atomically, sorted by name. An entry that is the same keeps its bytes."""
    replace(path, text(entries))


def text(entries: Mapping[str, Entry]) -> str:
    """The content of a file, sorted by name."""
    return HEADER + "".join(_table(name, entry) for name, entry in sorted(entries.items()))


def _table(name: str, entry: Entry) -> str:
    readers = "".join(f"    {json.dumps(reader)},\n" for reader in entry.readers)
    tags = f"tags = {json.dumps(entry.tags)}\n" if entry.tags else ""
    return f"\n[{name}]\nreaders = [\n{readers}]\n{tags}value = '''\n{entry.value}\n'''\n"


def update(path: Path, change: Callable[[dict[str, Entry]], None]) -> None:
    """Reads, changes and writes a file while no other `update` does; `change` works in place on what it is given."""
    with locked(path.parent):
        entries = read(path)
        change(entries)
        write(path, entries)


def _pairs(readers: Readers) -> list[tuple[str, str]]:
    return [(owner, line) for owner, lines in sorted(readers.items()) for line in lines]


def _value(path: Path, name: str, plain: bytes) -> str:
    try:
        held = tomllib.loads(plain.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        held = {}
    value = held.get(name)
    if set(held) != {name} or not isinstance(value, str):
        found = f"of {', '.join(map(repr, held))}" if held else "of nothing known"
        hint = "somebody moved it there by hand: restore the file from git and see who changed it"
        raise InputError(path, name, f"does not hold its own value but one {found}", hint) from None
    return value
