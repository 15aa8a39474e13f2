"""The letter in the envelope: an age identity, and in comments what opens the backup that the repository lies in.

It is one file, which `age -i` takes as it is. The lines `#export NAME='VALUE'` are restic's environment, for a shell:
with them, and without this software or any of its files, the repository comes back from the second copy.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from backup import custody
from backup.custody import CONTROL, DataSet
from backup.store import COPY_KEYS
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.secrets import Secrets

EXPORT = "#export "
REPOSITORY = "RESTIC_REPOSITORY"


@dataclass(frozen=True)
class Way:
    """How to get what the control host has saved. names: of the secrets in it."""

    environment: Mapping[str, str] = field(repr=False)
    names: tuple[str, ...]

    @property
    def repository(self) -> str:
        """Where it lies."""
        return self.environment[REPOSITORY]


def address(site: LoadedSite) -> str:
    """Where the second copy of the control host's backup lies; empty where there is none."""
    declared, host = site.fleet.backup.copy_, custody.control_host(site)
    if not declared or not host or not custody.vault_of(site):
        return ""
    return f"s3:{declared.endpoint.rstrip('/')}/{declared.bucket}/{host}/{custody.CONTROL_ROLE}"


def way(site: LoadedSite, held: Secrets) -> Way | None:
    """To that copy, by keys that read and add; None where there is none. held: the site's secrets.

    Raises InputError when one of those that it needs is not there, or cannot be read.
    """
    declared, lies = site.fleet.backup.copy_, address(site)
    if not declared or not lies:
        return None
    names = {
        "RESTIC_PASSWORD": DataSet(custody.control_host(site), custody.CONTROL_ROLE).secret,
        **dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), COPY_KEYS[CONTROL], strict=True)),
    }
    values = {REPOSITORY: lies} | {variable: _one_line(held, name) for variable, name in names.items()}
    if declared.region:
        values["AWS_DEFAULT_REGION"] = declared.region
    return Way(values, tuple(sorted(names.values())))


def write(site: LoadedSite, sealed: str, identity: str, found: Way | None) -> str:
    """The text of the letter."""
    lines = [f"# {site.name}, the envelope of {sealed}"]
    lines += [f"{EXPORT}{name}={shlex.quote(value)}" for name, value in (found.environment if found else {}).items()]
    return "\n".join([*lines, identity, ""])


def environment(text: str) -> dict[str, str]:
    """What a letter says of the backup."""
    words = [shlex.split(line.removeprefix(EXPORT))[0] for line in text.splitlines() if line.startswith(EXPORT)]
    return dict(word.split("=", 1) for word in words)


def _one_line(held: Secrets, name: str) -> str:
    if name not in held:
        hint = "without it the second copy opens for nobody: see roles/vault/README.md"
        raise InputError(held.path, name, "no such secret", hint)
    value = held[name].get_secret_value()
    if not re.fullmatch(r"[!-~]+", value):
        raise InputError(held.path, name, "cannot be printed: it has blanks or what is no ASCII", "make another")
    return value
