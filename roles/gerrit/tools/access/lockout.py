"""What would leave nobody able to mend it: who is to administer Gerrit, and who can write its rights then."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from roles.gerrit.tools.access import words
from roles.gerrit.tools.access.config_file import Entry
from roles.gerrit.tools.access.project_config import EXCLUSIVE

NEEDED = ("read", "push")
"""On refs/meta/config: what this program reads and writes rights by."""


@dataclass(frozen=True)
class Members:
    """Of a group: accounts by name, and UUIDs of groups."""

    accounts: frozenset[str]
    includes: frozenset[str]


def everybody(uuid: str, groups: Mapping[str, Members]) -> frozenset[str]:
    """Accounts in a group, by whatever way."""
    found: set[str] = set()
    seen, todo = {uuid}, [uuid]
    while todo:
        one = groups.get(todo.pop())
        if one:
            found |= one.accounts
            todo += one.includes - seen
            seen |= one.includes
    return frozenset(found)


def problem(
    rights: Mapping[str, frozenset[Entry]], groups: Mapping[str, Members], service: str, people: frozenset[str]
) -> tuple[str, str]:
    """The project and what is wrong, or two empty texts.

    rights: of projects as they will be; groups: as they will be, by UUID; people: who are no bots.
    """

    def holds(uuid: str, name: str) -> bool:
        return uuid in words.EVERYBODY or name in everybody(uuid, groups)

    rules = [one for one in rights.get(words.ALL_PROJECTS, ()) if one[:3] == ("capability", "", "administrateServer")]
    admins = [_group(one) for one in rules if one.value.startswith("group ")]
    if not any(holds(uuid, service) for uuid in admins):
        return words.ALL_PROJECTS, f"{service}, which applies this, would be no administrator (administrateServer)"
    if not any(everybody(uuid, groups) & people for uuid in admins):
        return words.ALL_PROJECTS, "no person would be an administrator (administrateServer): its groups hold none"
    if any(not one.value.startswith("group ") and holds(_group(one), service) for one in rules):
        return words.ALL_PROJECTS, f"administrateServer would be refused to {service}"
    for project, entries in rights.items():
        for permission in NEEDED:
            if why := _writes(entries, permission, project == words.ALL_PROJECTS, lambda one: holds(one, service)):
                return project, f"{why}: {service} could not {permission} {words.META} any more"
    return "", ""


def _group(rule: Entry) -> str:
    return rule.value.partition("group ")[2]


def _writes(entries: Iterable[Entry], permission: str, root: bool, mine: Callable[[str], bool]) -> str:
    """Why the account is left without the permission on refs/meta/config, or empty. Patterns that say most go first;
    one that is exclusive ends what less exact ones and projects above grant."""
    rules = [one for one in entries if one.section == "access" and _matches(one.name)]
    refs = sorted({one.name for one in rules}, key=lambda ref: (ref.startswith("^"), -len(ref)))
    blocked = [one for one in rules if one.key == permission and one.value.startswith("block ") and mine(_group(one))]
    if blocked:
        return f"{blocked[0].name} blocks {permission}"
    for ref in refs:
        here = [one for one in rules if one.name == ref and one.key == permission and mine(_group(one))]
        if any(one.value.startswith("deny ") for one in here):
            return f"{ref} denies {permission}"
        if here:
            return ""
        if any(one.name == ref and one.key == EXCLUSIVE and one.value == permission for one in rules):
            return f"{ref} has {permission} exclusive, and not for it"
    return f"nothing grants {permission}" if root else ""


def _matches(pattern: str) -> bool:
    if pattern.startswith("^"):
        try:
            return re.fullmatch(pattern[1:], words.META) is not None
        except re.error:
            return False
    return pattern == words.META or (pattern.endswith("/*") and words.META.startswith(pattern[:-1]))
