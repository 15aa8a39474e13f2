"""All that is declared, of gerrit.toml, people.toml and admins.toml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import InputError
from roles.gerrit.tools.access import words
from roles.gerrit.tools.access.declaration import Bot, Expectation, Group, Person, Project

FILE, PEOPLE = "gerrit.toml", "people.toml"


@dataclass(frozen=True)
class Declared:
    """All of it, checked. path: of gerrit.toml; service: the account that this program is."""

    path: Path
    service: str
    groups: Mapping[str, Group]
    people: Mapping[str, Person]
    bots: Mapping[str, Bot]
    projects: Mapping[str, Project]
    tables: Mapping[str, str]
    """Where in the file each project is."""
    expectations: tuple[Expectation, ...]

    def members(self, group: str) -> frozenset[str]:
        """Accounts that are to be in a group themselves; this program's own is always an administrator."""
        own = {self.service} if group == words.ADMINISTRATORS else set()
        return frozenset({*self.groups[group].members} | own)

    def with_included(self, group: str) -> frozenset[str]:
        """Accounts that are to be in a group, by whatever way through declared groups."""
        found: set[str] = set()
        seen: set[str] = set()
        todo = [group]
        while todo:
            one = todo.pop()
            if one not in seen and one in self.groups:
                seen.add(one)
                found |= self.members(one)
                todo += self.groups[one].includes
        return frozenset(found)

    def above(self, project: str) -> list[str]:
        """A project and those that it inherits from, as far as they are declared."""
        found = [project]
        while found[-1] != words.ALL_PROJECTS and self.projects[found[-1]].parent in self.projects:
            found.append(self.projects[found[-1]].parent)
        return found

    def parents_first(self) -> list[str]:
        """Names of all projects."""
        return sorted(self.projects, key=lambda name: (len(self.above(name)), name))


def check_group(declared: Declared, field: str, name: str) -> None:
    """Raises InputError when a group is neither declared nor there by itself; one with a slash is another system's."""
    own = (words.ADMINISTRATORS, words.SERVICE_USERS, *words.SYSTEM_GROUPS)
    if name not in declared.groups and name not in own and "/" not in name:
        known = ", ".join([*declared.groups, *own])
        raise InputError(declared.path, field, f"no group {name!r}", f"declare [groups.{name}]; there are: {known}")
