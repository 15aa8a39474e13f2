"""What is declared for a host, by name: taken from what its operations ask it, which is all they have in common."""

from collections.abc import Iterable, Mapping
from typing import Any

from roles.common.facts import AccountLook, Look, PackageLook, ServiceLook, TreeLook
from roles.common.volume_plan import unit_name
from roles.common.volumes import VolumeLook

Asked = tuple[type[Look], str, Mapping[str, Any]]
"""A look, its standard input and its other words."""


def declared(asked: Iterable[Asked]) -> dict[str, list[str]]:
    """`paths`, `packages` and `units`, as on_host/look.py is told."""
    found: dict[str, dict[str, None]] = {name: {} for name in ("paths", "packages", "units")}
    for look, stdin, words in asked:
        if issubclass(look, TreeLook):
            found["paths"] |= dict.fromkeys(stdin.splitlines())
        elif issubclass(look, VolumeLook):
            mounts = (volume.mount for volume in words["declared"].values())
            found["paths"] |= dict.fromkeys(f"/etc/systemd/system/{unit_name(mount)}" for mount in mounts)
        elif issubclass(look, AccountLook):
            found["paths"] |= dict.fromkeys(f"{home}/.ssh/authorized_keys" for home in words["homes"])
        elif issubclass(look, PackageLook):
            found["packages"] |= dict.fromkeys(words["names"])
        elif issubclass(look, ServiceLook):
            found["units"] |= dict.fromkeys(words["units"])
    return {name: list(things) for name, things in found.items()}
