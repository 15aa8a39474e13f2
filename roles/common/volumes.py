"""A host's block storage: formatted once, when it is blank, and mounted by label ever after."""

from collections.abc import Generator, Mapping
from typing import Any

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host

from inventories.fleet import Volume
from inventories.lock import LockedVolume
from roles.common import volume_plan
from roles.common.facts import LOOKED, Look
from roles.common.operations import Refuse


def packages(declared: Mapping[str, Volume]) -> dict[str, str | None]:
    """What the volumes' filesystems need, for the role's packages."""
    return {volume_plan.PACKAGES[volume.filesystem]: None for volume in declared.values()}


def volumes(
    name: str,
    declared: Mapping[str, Volume],
    locked: Mapping[str, LockedVolume],
    owners: Mapping[str, str] | None = None,
    **arguments: Any,
) -> OperationMeta:
    """Every declared volume holds its filesystem, labelled with its name, and is mounted, grown to its disk's size.

    locked: what provisioning attached, which says the disk each volume is.
    owners: volume -> the account (with a group of its name) that owns all that is on it; user ids may change when a
    host is reinstalled, and then everything is handed over to the new one. One remote command when nothing changes.
    """
    ids = {volume: block.disk for volume, block in locked.items()}
    made: OperationMeta = _volumes(declared=declared, ids=ids, owners=owners or {}, name=name, **arguments)
    return made


class VolumeLook(Look):
    """Disks, and how the declared volumes are mounted."""

    kind = "volumes"

    def command(self, declared: Mapping[str, Volume]) -> str:
        return f"echo {LOOKED}\n{volume_plan.look(declared)}"


@operation()
def _volumes(
    declared: Mapping[str, Volume], ids: Mapping[str, str], owners: Mapping[str, str]
) -> Generator[str | PyinfraCommand, None, None]:
    try:
        if (lines := host.get_fact(VolumeLook, declared=declared)) is not None:
            yield from volume_plan.plan(declared, ids, owners, volume_plan.parse(lines))
    except volume_plan.VolumeError as error:
        yield Refuse([str(error)])
