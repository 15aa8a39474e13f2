"""Who administers the site: the typed file `admins.toml`.

    [admins.alice]
    full_name = "Alice Example"
    ssh_keys = ["ssh-ed25519 AAAA... alice@laptop", "sk-ssh-ed25519@openssh.com AAAA... alice@token"]
    age_recipients = ["age1..."]    # default: the ssh-ed25519 keys above
    roles = ["*"]                   # default; or the roles whose hosts she has an account on
    sudo = true                     # default
    publisher = false               # default; true: no sudo and no secrets, they publish and do nothing else

Every admin has an account of that name on the hosts, and can read the secrets (inventories/secrets.py) with what
`age_recipients` says. A publisher reads none, and on release and web servers acts as the account that owns what is
published, and as nobody else. Pure but for reading the one file.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from inventories import broken, keys
from inventories.errors import InputError
from inventories.typed import Typed

ACCOUNT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""What Debian's useradd takes (at most 32 characters), without a leading underscore or a trailing $."""

# Users and groups of Debian 13's base-passwd (`useradd` makes a group of the same name, so both are taken), those that
# packages of the base system add, names to which cloud images give a meaning of their own, the control host's, and what
# the sealed envelope is called among the readers of secrets.
_SYSTEM = """
root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody nogroup adm tty disk kmem
dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff users
messagebus sshd polkitd crontab systemd dhcpcd input sgx kvm render netdev
debian ubuntu admin wheel
control envelope
"""
SYSTEM_ACCOUNTS = frozenset(_SYSTEM.split())
_HOW_TO_NAME = "lower-case letters, digits, - and _, a letter first, at most 32 characters"


def _ssh_key(line: str) -> str:
    key = keys.parse(line)
    return f"{key.recipient} {key.comment}".rstrip()


def _role(name: str) -> str:
    if name != "*" and not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
        raise ValueError('must be "*" for all, or names of roles')
    return name


class Admin(Typed):
    """One administrator."""

    name: str
    full_name: str = Field(default="", max_length=100)
    """As shown by `getent passwd`; no colon or comma, which that file gives a meaning."""
    ssh_keys: tuple[Annotated[str, AfterValidator(_ssh_key)], ...] = Field(min_length=1)
    """Lines of authorized_keys, `TYPE BASE64 COMMENT`, checked: ssh-ed25519 or a security key (`sk-`)."""
    age_recipients: tuple[Annotated[str, AfterValidator(keys.recipient)], ...] = ()
    """What secrets are encrypted to: `age1...` or `ssh-ed25519 AAAA...`. Empty: the ssh-ed25519 `ssh_keys`."""
    roles: tuple[Annotated[str, AfterValidator(_role)], ...] = Field(default=("*",), min_length=1)
    sudo: bool = True
    publisher: bool = False

    @field_validator("full_name")
    @classmethod
    def _gecos(cls, value: str) -> str:
        if not value.isprintable() or set(value) & set(":,="):
            raise ValueError("must be printable and without : , =")
        return value

    @model_validator(mode="before")
    @classmethod
    def _default_recipients(cls, data: dict[str, Any]) -> dict[str, Any]:
        lines = data.get("ssh_keys")
        if data.get("age_recipients", []) == [] and isinstance(lines, list) and data.get("publisher") is not True:
            usable = [line for line in lines if isinstance(line, str) and line.startswith(keys.ED25519 + " ")]
            return data | {"age_recipients": usable}
        return data

    @model_validator(mode="before")
    @classmethod
    def _publishes_alone(cls, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("publisher") is not True:
            return data
        for field in ("sudo", "age_recipients"):
            if data.get(field):
                raise ValueError(f"{field}: not for a publisher, who has no sudo and reads no secrets; take it out")
        return data | {"sudo": False}

    @model_validator(mode="after")
    def _reads_secrets(self) -> Self:
        if not self.publisher and not self.age_recipients:
            raise ValueError(
                "age_recipients: needed, because age cannot encrypt to a security key (sk-): make a key with"
                " `age-keygen -o ~/.config/mainstay/age.txt` and give the `age1...` line it prints"
            )
        return self


class Admins(Typed):
    """Everyone in the file, by name."""

    admins: dict[str, Admin]

    def all(self) -> tuple[Admin, ...]:
        """Every admin, sorted by name."""
        return tuple(admin for _, admin in sorted(self.admins.items()))

    def for_role(self, role: str) -> tuple[Admin, ...]:
        """Those who have an account on the hosts of a role, sorted by name."""
        return tuple(admin for admin in self.all() if "*" in admin.roles or role in admin.roles)

    def recipients(self) -> dict[str, tuple[str, ...]]:
        """What secrets are encrypted to, by the name of whom it belongs to."""
        return {admin.name: admin.age_recipients for admin in self.all() if not admin.publisher}


def load_admins(path: Path) -> Admins:
    """Reads and checks an admins.toml. Raises InputError naming the file, the admin, the field and what to do."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            path, "", "does not exist", "it says who administers the site: copy inventories/admins.example there"
        ) from None
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error}") from error
    return parse(path, tables(path, content))


def tables(path: Path, content: bytes) -> dict[str, Any]:
    """What stands in the content of the file at `path`, not checked. Raises InputError for what is no TOML."""
    hint = "restore it from git, or finish the merge: keep the tables of all who are to be admins"
    return broken.toml(path, content, hint)


def parse(path: Path, data: dict[str, Any]) -> Admins:
    """The checked content of the file at `path`, which is only named in errors. Raises InputError."""
    for key in data.keys() - {"admins"}:
        raise InputError(path, key, "unknown field", "admins are tables: [admins.NAME]")
    tables = data.get("admins")
    if not isinstance(tables, dict) or not tables:
        raise InputError(path, "admins", "nobody is declared", "add yourself: [admins.NAME] with ssh_keys = [...]")
    admins = Admins(admins={name: _admin(path, name, table) for name, table in tables.items()})
    _refuse_shared_keys(path, admins)
    return admins


def _admin(path: Path, name: str, table: object) -> Admin:
    where = f"admins.{name}"
    if not ACCOUNT.fullmatch(name):
        raise InputError(path, where, "cannot be the name of an account", f"use {_HOW_TO_NAME}")
    if name in SYSTEM_ACCOUNTS or name.startswith("systemd-"):
        raise InputError(path, where, "is the name of a system account", "use a person's own name")
    if not isinstance(table, dict):
        raise InputError(path, where, "must be a table", f"[admins.{name}] with ssh_keys = [...]")
    if "name" in table:
        raise InputError(path, f"{where}.name", "unknown field", "the name is the one in the brackets; see full_name")
    try:
        return Admin.model_validate({"name": name, **table})
    except ValidationError as error:
        raise _input_error(path, where, error) from error


def _input_error(path: Path, where: str, error: ValidationError) -> InputError:
    first = error.errors()[0]
    at = ".".join([where, *map(str, first["loc"])])
    if first["type"] == "extra_forbidden":
        return InputError(
            path, at, "unknown field", f"known are: {', '.join(f for f in Admin.model_fields if f != 'name')}"
        )
    if first["type"] == "missing":
        return InputError(path, at, "is missing", "every admin needs at least one: the line of ~/.ssh/id_ed25519.pub")
    problem = first["msg"].removeprefix("Value error, ")
    if not first["loc"] and ": " in problem:
        field, problem = problem.split(": ", 1)
        at = f"{where}.{field}"
    problem, _, hint = problem.partition("; ")
    return InputError(path, at, problem, hint)


def _refuse_shared_keys(path: Path, admins: Admins) -> None:
    for field in ("ssh_keys", "age_recipients"):
        owners: dict[str, str] = {}
        for admin in admins.all():
            for number, line in enumerate(getattr(admin, field)):
                key = keys.label(line)
                if key in owners:
                    hint = "a key belongs to one person and is given once: remove one of the two"
                    where = f"admins.{admin.name}.{field}.{number}"
                    raise InputError(path, where, f"{key} is already a key of {owners[key]}", hint)
                owners[key] = admin.name
