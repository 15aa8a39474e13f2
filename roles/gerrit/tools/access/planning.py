"""What differs between what is declared and what is there, and refuses what would lock everybody out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import InputError
from roles.gerrit.tools.access import accounts, expectations, groups, lockout, projects, reading, words
from roles.gerrit.tools.access.config_file import Entry
from roles.gerrit.tools.access.declared import Declared
from roles.gerrit.tools.access.expectations import Outcome
from roles.gerrit.tools.access.found import Found
from roles.gerrit.tools.access.remembered import Remembered
from roles.gerrit.tools.access.steps import Step
from roles.gerrit.tools.rest import Refused, Server
from roles.gerrit.tools.sources.ask import Tell

DIFFERS = 52
"""Exit code: what is there is not what is declared."""


@dataclass(frozen=True)
class Way:
    """A Gerrit, and what it is held against. scratch: a folder to work in."""

    server: Server
    declared: Declared
    remembered: Remembered
    secret: reading.Secret
    scratch: Path
    tell: Tell

    def read(self) -> Found:
        """What is there now. Raises Unreachable, Refused; InputError where what is declared locks everybody out."""
        there = reading.everything(self.server, self.declared, self.remembered, self.secret, self.tell)
        found = groups.known(self.declared, there, self.remembered.groups)
        check_lockout(self.declared, found)
        return found

    def remember(self, found: Found) -> None:
        """For the next time."""
        commits = [one.revision for one in found.projects.values() if one.config]
        self.remembered.save(commits, {group.name: group.uuid for group in found.groups.values()})


@dataclass(frozen=True)
class Plan:
    """steps: in the order of doing; outcomes: of expectations, as it is now."""

    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]
    groups: tuple[str, ...]
    """What is there and not declared."""
    projects: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def broken(self) -> tuple[Outcome, ...]:
        return tuple(one for one in self.outcomes if not one.holds)

    @property
    def exit_code(self) -> int:
        return DIFFERS if self.steps or self.broken else 0

    def as_json(self) -> dict[str, object]:
        return {
            "exit_code": self.exit_code,
            "differences": [{"about": one.about, "words": one.words} for one in self.steps],
            "expectations": [{"expected": one.expected, "holds": one.holds, "told": one.told} for one in self.outcomes],
            "undeclared": {"groups": self.groups, "projects": self.projects},
            "notes": self.notes,
        }


def plan(way: Way) -> Plan:
    """Looks, and changes nothing."""
    found = way.read()
    declared = way.declared
    steps = [
        *accounts.steps(declared, found, way.secret),
        *groups.made(declared, found),
        *groups.filled(declared, found),
        *way_in(declared, found),
        *projects.steps(declared, found),
        *groups.emptied(declared, found),
    ]
    outcomes = expectations.check(way.server, declared, found)
    undeclared = sorted({group.name for group in found.groups.values()} - {*declared.groups})
    rest = tuple(sorted({*found.projects} - {*declared.projects, words.ALL_USERS}))
    made = Plan(tuple(steps), tuple(outcomes), tuple(undeclared), rest, tuple(notes(declared, found)))
    way.remember(found)
    return made


def way_in(declared: Declared, found: Found) -> Iterator[Step]:
    """Gerrit's own All-Projects lets nobody push rights. Where it is declared, that is among what it is to have."""
    there = found.projects[words.ALL_PROJECTS].config
    if words.ALL_PROJECTS not in declared.projects and there and right(found) not in there.entries:
        told = f"+ {words.META}: push {words.ADMINISTRATORS}, by which rights are written"
        yield Step(f"project {words.ALL_PROJECTS}", (told,))


def right(found: Found) -> Entry:
    """The one that this program writes by."""
    return Entry("access", words.META, "push", f"group {found.uuid(words.ADMINISTRATORS)}")


def notes(declared: Declared, found: Found) -> Iterator[str]:
    """People who have to log in first, and groups that may be there under another name which this machine does not
    know of."""
    if waiting := accounts.waited_for(declared, found):
        yield f"have not logged in yet, and get their groups by an apply afterwards: {', '.join(sorted(waiting))}"
    gerrits = {words.ADMINISTRATORS, words.SERVICE_USERS, "Blocked Users"}
    others = sorted(group.name for group in found.groups.values() if group.name not in {*declared.groups} | gerrits)
    if (missing := [name for name in declared.groups if not found.uuid(name)]) and others:
        there = ", ".join(f"{name} ({found.uuid(name)})" for name in others)
        yield f"groups that are not there: {', '.join(missing)}; not declared: {there}; was one renamed?"


def check_lockout(declared: Declared, found: Found) -> None:
    """Raises InputError when what is declared leaves nobody to mend it, Refused when who could is not there."""
    if not found.uuid(words.ADMINISTRATORS):
        raise Refused(f"there is no group {words.ADMINISTRATORS}: whoever renamed it, name it so again")
    rights = {name: projects.entries(declared, found, name) for name in declared.projects}
    there = found.projects[words.ALL_PROJECTS].config
    if words.ALL_PROJECTS not in rights and there:
        rights[words.ALL_PROJECTS] = there.entries | {right(found)}
    people = frozenset(declared.people)
    members = groups.as_declared(declared, found)
    project, why = lockout.problem(rights, members, declared.service, people)
    if why:
        table = declared.tables.get(project, f"groups.{words.ADMINISTRATORS}")
        hint = "nothing was changed: this would leave nobody to mend it"
        raise InputError(declared.path, table, why, hint)
