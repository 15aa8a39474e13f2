"""People come and go: admins.toml and the secrets changed together, so that a killed run is ended by running it again.

admins.toml is written first. Until the secrets are written too, they still say who could read them: so a second run
knows what is left to do. Everything that may be refused is refused before the first of the two is written.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories import admins_text, departed, editing, keys
from inventories.admins import Admin, Admins, parse, tables
from inventories.errors import InputError
from inventories.files import locked, replace
from inventories.inventory import ADMINS, LoadedSite, readers
from inventories.roles import check_admins
from inventories.secrets import owners, stale

PRIVATE = ("PRIVATE KEY", "AGE-SECRET-KEY-", "PuTTY-User-Key-File")
"""What a file of secret keys says."""
NEEDS_AGE = (
    "needed: a security key (sk-) signs and cannot decrypt, so age has nothing to encrypt the secrets to; they make a"
    " key with `age-keygen -o ~/.config/mainstay/age.txt` and give you the line age1... that it prints"
)
BY_HAND = "change it by hand there, then run `mainstay secrets rekey`"


@dataclass(frozen=True)
class Joined:
    """admin: as declared. resumed: whether an earlier run declared it. secrets: names of what was encrypted anew."""

    admin: Admin
    resumed: bool
    secrets: tuple[str, ...]


@dataclass(frozen=True)
class Gone:
    """knew: names of the secrets that could be read until now. named: where else the name stands, as `FILE: FIELD`."""

    knew: tuple[str, ...]
    named: tuple[str, ...]


def public_keys(path: Path) -> tuple[str, ...]:
    """The lines of a file of public keys, checked. Raises InputError, which shows nothing of a private key."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(path, "", f"cannot be read: {what}", "give the file that ends with .pub") from None
    if any(word in text for word in PRIVATE):
        hint = f"give the public half: {path}.pub, or what `ssh-keygen -y -f {path}` prints"
        raise InputError(path, "", "is a private key, which stays with its owner and comes into no repository", hint)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                key = keys.parse(line)
            except ValueError as error:
                problem, _, hint = str(error).partition("; ")
                raise InputError(path, f"line {number}", problem, hint) from None
            found.append(f"{key.recipient} {key.comment}".rstrip())
    if not found:
        raise InputError(path, "", "holds no public key", keys.MAKE_ONE)
    return tuple(found)


def add(
    site: LoadedSite,
    name: str,
    key: Path,
    age_recipients: Sequence[str] = (),
    roles: Sequence[str] = (),
    *,
    publisher: bool = False,
) -> Joined:
    """Makes somebody an admin who reads the secrets, or a publisher, who reads none.

    key: a file of public keys. age_recipients: default, the ssh-ed25519 keys. roles: default, all.

    Raises InputError, before anything is written; also when one of the secrets cannot be read here.
    """
    lists = {"ssh_keys": public_keys(key), "age_recipients": _recipients(age_recipients), "roles": tuple(roles)}
    decrypts = lists["age_recipients"] or any(line.startswith(keys.ED25519) for line in lists["ssh_keys"])
    if not publisher and not decrypts:
        raise InputError("--age", "", NEEDS_AGE)
    path = site.files / ADMINS
    text = _text(path)
    data = tables(path, text.encode())
    present = parse(path, data).admins if data.get("admins") else {}
    table: dict[str, Any] = {field: [*values] for field, values in lists.items() if values}
    table |= {"publisher": True} if publisher else {}
    _refuse_others_keys(key, name, lists, present)
    wanted = parse(path, data | {"admins": {**data.get("admins", {}), name: table}})
    resumed = name in present
    if resumed:
        _refuse_known(site, path, name, present[name] == wanted.admins[name])
    check_admins(path, wanted)
    changes = _encrypted_anew(site, wanted)
    if not resumed:
        _write(path, text, admins_text.with_table(text, name, lists | {"publisher": publisher}), wanted)
    _encrypt(site, changes, wanted)
    return Joined(wanted.admins[name], resumed, tuple(changes))


def remove(site: LoadedSite, name: str) -> Gone:
    """Takes an admin out of admins.toml and of what the secrets are encrypted to, and writes down what they knew.

    Raises InputError, before anything is written: for who is not there, for the last one of all or with sudo on the
    hosts of a role, and when one of the secrets cannot be read here.
    """
    path = site.files / ADMINS
    text = _text(path)
    data = tables(path, text.encode())
    present = parse(path, data)
    knew = tuple(secret for secret in site.secrets if name in owners(site.secrets.entries[secret]))
    declared = name in present.admins
    if not declared and (not knew or name in readers(site.files, present)):
        raise InputError(path, f"admins.{name}", "no such admin", f"admins are: {', '.join(sorted(present.admins))}")
    wanted = present
    if declared:
        if len(present.admins) == 1:
            raise InputError(path, f"admins.{name}", "is the last admin", "add another one first: `mainstay admin add`")
        wanted = parse(path, data | {"admins": {one: data["admins"][one] for one in data["admins"] if one != name}})
        _refuse_to_lock_out(site, path, present, wanted)
    changes = _encrypted_anew(site, wanted)
    if declared:
        _write(path, text, admins_text.without_table(text, name), wanted)
    _encrypt(site, changes, wanted)
    return Gone(knew, tuple(_named(site, name)))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise InputError(path, "", "is not UTF-8", "restore it from git") from None


def _recipients(given: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(keys.recipient(line.strip()) for line in given)
    except ValueError as error:
        problem, _, hint = str(error).partition("; ")
        raise InputError("--age", "", problem, hint or "give the line age1... that age-keygen prints") from None


def _refuse_others_keys(key: Path, name: str, lists: Mapping[str, Sequence[str]], present: Mapping[str, Admin]) -> None:
    taken = {
        keys.label(line): one for one, admin in present.items() for line in (*admin.ssh_keys, *admin.age_recipients)
    }
    for field, where in (("ssh_keys", key), ("age_recipients", "--age")):
        for label in map(keys.label, lists[field]):
            if (other := taken.get(label, name)) != name:
                raise InputError(where, "", f"{label} is a key of {other} already", "a key belongs to one person")


def _refuse_known(site: LoadedSite, path: Path, name: str, same: bool) -> None:
    """What a killed run has declared may be run again."""
    if same and stale(site.secrets.entries, site.readers):
        return
    problem = "is an admin already" if same else "is an admin already, with other keys, recipients or roles"
    hint = "nothing is to be done" if same else f"somebody else: take another name. Another key: {BY_HAND}"
    raise InputError(path, f"admins.{name}", problem, hint)


def _refuse_to_lock_out(site: LoadedSite, path: Path, present: Admins, wanted: Admins) -> None:
    def mighty(admins: Admins, role: str) -> bool:
        return any(admin.sudo for admin in admins.for_role(role))

    for role in sorted({host.role for host in site.fleet.hosts.values()}):
        if mighty(present, role) and not mighty(wanted, role):
            hint = "give another admin that role, deploy it, and remove this one then"
            raise InputError(path, "admins", f"nobody with sudo would be left on hosts of the role {role!r}", hint)


def _encrypted_anew(site: LoadedSite, wanted: Admins) -> dict[str, editing.Plain]:
    """What is not encrypted to exactly those who may read it then, decrypted. Raises InputError."""
    departed.read(site.files)  # which is written then, too
    secrets = site.secrets
    names = stale(secrets.entries, readers(site.files, wanted))
    return {name: editing.Plain(secrets[name].get_secret_value(), secrets.entries[name].tags) for name in names}


def _write(path: Path, before: str, after: str, wanted: Admins) -> None:
    with locked(path.parent):
        if _text(path) != before:
            raise InputError(path, "", "was changed by somebody else meanwhile: nothing was written", "run it again")
        try:
            written = parse(path, tables(path, after.encode()))
        except InputError:
            written = None
        if written != wanted:
            raise InputError(path, "", "has people in another form than tables [admins.NAME]", BY_HAND)
        replace(path, after)


def _encrypt(site: LoadedSite, changes: editing.Changes, wanted: Admins) -> None:
    if changes:
        editing.apply(site.secrets.path, site.secrets.entries, changes, readers(site.files, wanted))


def _named(site: LoadedSite, name: str) -> Iterator[str]:
    """Where typed files of this site and of those beside it have this name: as a key, or as a value."""
    own = (site.files / ADMINS, site.files / departed.FILE)
    folder = site.path.parent
    for path in sorted({*folder.glob("*.toml"), *folder.glob("*/*.toml"), *site.files.glob("*.toml")} - {*own}):
        try:
            yield from (f"{path}: {field}" for field in _fields(tomllib.loads(path.read_text()), name))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            yield f"{path}: cannot be read: look yourself"


def _fields(value: Any, name: str, at: str = "") -> Iterator[str]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            field = f"{at}.{key}".lstrip(".")
            if key == name:
                yield field
            else:
                yield from _fields(inner, name, field)
    elif value == name:
        yield at
