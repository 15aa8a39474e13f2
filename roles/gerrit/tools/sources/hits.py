"""Whom a damaged repository hits: devices and groups of the manifest. Pure.

A manifest does not say what a device is. Its groups do: `device-NAME`, and those of projects below device/ that are not
for all. Where such a project has none, its path does: device/MAKER/NAME.
"""

from collections.abc import Iterable

from roles.gerrit.tools.sources.manifest import DEFAULT, NOT_DEFAULT, Project

PREFIX = "device-"
GENERAL = frozenset(("all", DEFAULT, NOT_DEFAULT, "device", "vendor", "kernel", "generic", "common", "sample"))
BESIDE = ("-sepolicy", "-kernels", "-kernel", "-common")
"""What follows a device's name in the name of a folder that belongs to it."""
PLACES = ("device", "vendor", "kernel")


def groups(project: Project) -> tuple[str, ...]:
    """Those that the manifest gives it."""
    return tuple(sorted(one for one in project.groups if one != "all" and not one.startswith(("name:", "path:"))))


def devices(projects: Iterable[Project]) -> frozenset[str]:
    """All that a manifest has."""
    found = set()
    for one in projects:
        said = {name.removeprefix(PREFIX) for name in groups(one) if name.startswith(PREFIX)}
        if one.path.startswith("device/"):
            said |= {name for name in groups(one) if _is_special(name) and not name.startswith(PREFIX)}
            said = said or _by_path(one)
        found |= said
    return frozenset(found)


def hit(project: Project, known: frozenset[str]) -> tuple[str, ...]:
    """Devices that need it; none: all that check it out."""
    said = {name.removeprefix(PREFIX) for name in groups(project)} & known
    return tuple(sorted(said or _by_path(project) & known))


def _is_special(group: str) -> bool:
    return group not in GENERAL and not group.startswith("pdk")


def _by_path(project: Project) -> set[str]:
    parts = project.path.split("/")
    if len(parts) < 3 or parts[0] not in PLACES or parts[1] in GENERAL:
        return set()
    name = parts[2]
    for end in BESIDE:
        name = name.removesuffix(end)
    return {name} - GENERAL
