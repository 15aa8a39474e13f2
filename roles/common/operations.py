"""The four operations a role is made of; see README.md. One remote command each when nothing changes."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyinfra.api.operation import OperationMeta

from roles.common.account_plan import Account
from roles.common.service_plan import Unit


def packages(name: str, present: Mapping[str, str | None], **arguments: Any) -> OperationMeta:
    """Debian packages installed, each at its minimum version (None: any). Never removes or downgrades.

    Services of packages that are newly installed are not started: their configuration comes first, then `services`.
    `arguments` are pyinfra's global arguments (`_if`, `_serial`...), here and below.
    """
    raise NotImplementedError


def tree(
    name: str,
    source: Path | None = None,
    context: Mapping[str, object] = {},
    *,
    generated: Mapping[str, str | bytes] = {},
    directories: Collection[str] = (),
    absent: Collection[str] = (),
    modes: Mapping[str, str] = {},
    owners: Mapping[str, str] = {},
    secret: Collection[str] = (),
    validate: Mapping[str, str] = {},
    **arguments: Any,
) -> OperationMeta:
    """Files on the host as they are under `source`, at the same path; `NAME.j2` is rendered with `context` to `NAME`.

    All paths are absolute paths on the host; patterns are fnmatch's, whose `*` also matches `/`; of several that match,
    the last one wins.

    - generated: files with the content given here.
    - directories: must exist. Mode and owner of these and of those on the way to a file are kept when a pattern
      matches, else set only when they are made (0755 root:root).
    - absent: files that must not exist.
    - modes: pattern -> "0640". Default 0644; 0755 for *.sh and in /usr/local/bin and /usr/local/sbin.
    - owners: pattern -> "user:group". Default root:root.
    - secret: paths or patterns never shown (no diff, no log, no process list). A template that prints a pydantic
      SecretStr is secret by itself.
    - validate: pattern -> command. Run once, when a matching path changes, in a private view of the host where the
      changes are made already; if it fails nothing is replaced and its message is the error.

    An undefined variable raises InputError, naming file and variable, before anything is changed on any host.
    """
    raise NotImplementedError


def services(name: str, units: Sequence[Unit], **arguments: Any) -> OperationMeta:
    """systemd units enabled and running with the configuration now on disk (not just what this run wrote).

    What each was last started with is kept in /var/lib/mainstay/units/UNIT; one without such a record is restarted.
    """
    raise NotImplementedError


def accounts(name: str, users: Sequence[Account], absent: Collection[str] = (), **arguments: Any) -> OperationMeta:
    """Users with their groups, shells and SSH keys. `absent` ones are removed, their processes ended, homes kept."""
    raise NotImplementedError
