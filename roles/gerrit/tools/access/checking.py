"""What is wrong with declared projects, rights and expectations, as far as it can be told without a server."""

from collections.abc import Iterable

from inventories.errors import InputError
from roles.gerrit.tools.access import words
from roles.gerrit.tools.access.declaration import Label, Project
from roles.gerrit.tools.access.declared import PEOPLE, Declared, check_group


def check(declared: Declared) -> None:
    """Raises InputError naming file, field and what to do."""
    _check_groups(declared)
    for name, project in declared.projects.items():
        at = declared.tables[name]
        if problem := words.project_problem(name):
            raise InputError(declared.path, at, problem, "rename it")
        if name == words.ALL_USERS:
            raise InputError(declared.path, at, "holds accounts, and is Gerrit's own", "leave it out")
        _check_parent(declared, name, project)
    for name, project in declared.projects.items():
        _check_rights(declared, name, project)
    for number, one in enumerate(declared.expectations):
        at = f"expect.{number}"
        if bool(one.account) == bool(one.group):
            raise InputError(declared.path, at, "is of an account or of a group", "give one of the two")
        if one.account and one.account not in {*declared.people, *declared.bots, declared.service}:
            raise InputError(declared.path, f"{at}.account", f"nobody is called {one.account!r}", "declare them first")
        if one.group and not declared.with_included(one.group):
            hint = "an expectation is asked for a declared member of a declared group"
            raise InputError(declared.path, f"{at}.group", f"{one.group!r} has no member", hint)
        if one.project not in declared.projects:
            raise InputError(declared.path, f"{at}.project", f"no project {one.project!r} is declared", "declare it")
        if one.permission not in words.CHECKABLE:
            hint = f"Gerrit answers for: {', '.join(words.CHECKABLE)}"
            raise InputError(declared.path, f"{at}.permission", f"{one.permission!r} cannot be asked for", hint)


def _check_groups(declared: Declared) -> None:
    accounts = {*declared.people, *declared.bots, declared.service}
    lower: dict[str, str] = {}
    for name, group in declared.groups.items():
        at = f"groups.{name}"
        if problem := words.group_problem(name):
            raise InputError(declared.path, at, problem, "letters, digits, spaces and - _ . are safe")
        if name.lower() in lower:
            raise InputError(declared.path, at, f"differs from {lower[name.lower()]!r} by case alone", "rename one")
        lower[name.lower()] = name
        for member in group.members:
            if member not in accounts:
                hint = f"add [people.{member}] to {PEOPLE}, [bots.{member}], or an admin"
                raise InputError(declared.path, f"{at}.members", f"nobody is called {member!r}", hint)
        for field, used in (("owner", [group.owner]), ("includes", group.includes)):
            for other in used:
                check_group(declared, f"{at}.{field}", other)


def _check_parent(declared: Declared, name: str, project: Project) -> None:
    at = f"{declared.tables[name]}.parent"
    if name == words.ALL_PROJECTS:
        if "parent" in project.model_fields_set:
            raise InputError(declared.path, at, "All-Projects has none", "remove it")
        return
    seen = [name]
    while (parent := declared.projects[seen[-1]].parent) != words.ALL_PROJECTS:
        if parent in seen:
            circle = " -> ".join([*seen[seen.index(parent) :], parent])
            raise InputError(declared.path, at, f"parents lead in a circle: {circle}", "one of them has another parent")
        if parent not in declared.projects:
            hint = f"declare [projects.{parent}], which needs no more than the line"
            raise InputError(
                declared.path, f"{declared.tables[seen[-1]]}.parent", f"no project {parent!r} is declared", hint
            )
        seen.append(parent)


def _labels(declared: Declared, name: str) -> dict[str, Label | None]:
    """Those that a project has. Of what All-Projects has where it is not declared, only Code-Review is known of."""
    above = declared.above(name)
    found: dict[str, Label | None] = {} if words.ALL_PROJECTS in above else {"Code-Review": None}
    for one in reversed(above):
        found |= declared.projects[one].labels
    return found


def _check_rights(declared: Declared, name: str, project: Project) -> None:
    at, labels = declared.tables[name], _labels(declared, name)
    for option in project.options:
        if option not in words.OPTIONS:
            hint = f"known are: {', '.join(words.OPTIONS)}"
            raise InputError(declared.path, f"{at}.options.{option}", "no such option", hint)
    for ref, permissions in project.access.items():
        if problem := words.ref_problem(ref):
            raise InputError(declared.path, f"{at}.access.{ref}", problem, "as in Gerrit's documentation of access")
        for permission, rules in permissions.items():
            field = f"{at}.access.{ref}.{permission}"
            for one in rules if permission == "exclusive" else [permission]:
                if problem := words.permission_problem(one, frozenset(labels)):
                    raise InputError(declared.path, field, problem, "Gerrit would take it, and it would mean nothing")
            if permission != "exclusive":
                _check_rules(declared, field, rules, _votes(labels, permission))
    for capability, rules in project.capabilities.items():
        field = f"{at}.capabilities.{capability}"
        if name != words.ALL_PROJECTS:
            raise InputError(declared.path, field, "is global", f"it belongs to [projects.{words.ALL_PROJECTS}]")
        if capability not in words.CAPABILITIES:
            hint = f"known are: {', '.join(words.CAPABILITIES)}"
            raise InputError(declared.path, field, "no such capability", hint)
        _check_rules(declared, field, rules, None)


def _votes(labels: dict[str, Label | None], permission: str) -> frozenset[int] | None:
    """What may be voted, where the permission is one to vote."""
    prefix = next((one for one in words.OF_LABELS if permission.startswith(one)), None)
    label = labels[permission.removeprefix(prefix)] if prefix else None
    return label.votes if label else None


def _check_rules(declared: Declared, field: str, rules: Iterable[str], votes: frozenset[int] | None) -> None:
    for text in rules:
        before, group = words.rule(text)
        check_group(declared, field, group)
        if votes is None:
            continue
        low, _, high = before.split()[-1].partition("..") if ".." in before else ("", "", "")
        if not low or not {int(low), int(high)} <= votes:
            span = f"{min(votes):+d}..{max(votes):+d}"
            raise InputError(declared.path, field, f"{text!r} does not say which votes", f"like `{span} {group}`")
