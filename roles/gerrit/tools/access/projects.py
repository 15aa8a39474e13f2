"""Projects: made, and configured as declared, those first that others inherit from, and All-Projects last."""

from collections.abc import Iterable, Iterator, Mapping

from roles.gerrit.tools.access import words
from roles.gerrit.tools.access.config_file import Entry
from roles.gerrit.tools.access.declared import Declared
from roles.gerrit.tools.access.found import NEW, Found
from roles.gerrit.tools.access.project_config import EXCLUSIVE, LOST, is_rule, wanted
from roles.gerrit.tools.access.steps import Step
from roles.gerrit.tools.rest import Request, part

WHOLE = ("label", "submit-requirement")
_SEVERAL = ("value", "branch", EXCLUSIVE)


def entries(declared: Declared, found: Found, name: str) -> frozenset[Entry]:
    """What a project is to have."""
    return wanted(name, declared.projects[name], lambda group: found.uuid(group) or NEW + group)


def steps(declared: Declared, found: Found) -> Iterator[Step]:
    """What is to do, one step a project."""
    names = found.names()
    for name in sorted(declared.parents_first(), key=lambda one: one == words.ALL_PROJECTS):
        there = found.projects.get(name)
        want = entries(declared, found, name)
        if there is None or there.config is None:
            told = [f"+ project, below {declared.projects[name].parent}"]
            told += differences(frozenset(one for one in want if one.key != "inheritFrom"), frozenset(), names)
            yield Step(f"project {name}", tuple(told), requests=(_made(declared, name),), project=name)
        elif want != there.config.entries:
            known = {uuid: title for title, uuid in there.config.named.items()} | names
            told = differences(want, there.config.entries, known)
            yield Step(f"project {name}", tuple(told), project=name)


def _made(declared: Declared, name: str) -> Request:
    project = declared.projects[name]
    body = {
        "parent": project.parent,
        "description": project.description,
        "permissions_only": project.permissions_only,
        "create_empty_commit": project.initial_commit and not project.permissions_only,
    }
    if not project.permissions_only:
        body["branches"] = [project.default_branch]
    return Request("PUT", f"/projects/{part(name)}", body, tolerated=(409,))


def differences(want: frozenset[Entry], there: frozenset[Entry], names: Mapping[str, str]) -> list[str]:
    """In words, a line each: + is added, - is removed, ~ is changed."""
    added, removed = want - there, there - want
    whole = {(one.section, one.name) for one in want | there if one.section in WHOLE}
    fresh = {one for one in whole if not any(each[:2] == one for each in there)}
    gone = {one for one in whole if not any(each[:2] == one for each in want)}
    found = [f"+ {section} {name}: {_summary(want, section, name)}" for section, name in sorted(fresh)]
    found += [f"- {section} {name}" for section, name in sorted(gone)]
    before = {one[:3]: one for one in removed if not _several(one)}
    for entry in sorted(added):
        if entry[:2] in fresh:
            continue
        if old := before.pop(entry[:3], None):
            found.append(f"~ {_field(entry)}: {old.value!r} -> {entry.value!r}")
        else:
            found.append(f"+ {told(entry, names)}")
    for entry in sorted(removed):
        if entry[:2] not in gone and (_several(entry) or entry[:3] in before):
            found.append(f"- {told(entry, names)}")
    return found


def _several(entry: Entry) -> bool:
    return is_rule(entry) or entry.key in _SEVERAL


def _summary(of: Iterable[Entry], section: str, name: str) -> str:
    inside = sorted(one for one in of if one[:2] == (section, name))
    return "; ".join(f"{one.key} {one.value}" for one in inside)


def _field(entry: Entry) -> str:
    return " ".join([entry.section, entry.name, entry.key] if entry.name else [f"{entry.section}.{entry.key}"])


def told(entry: Entry, names: Mapping[str, str]) -> str:
    """An entry in words."""
    if entry.key == EXCLUSIVE:
        return f"{entry.name}: {entry.value} is not inherited"
    if not is_rule(entry):
        return f"{_field(entry)}: {entry.value}"
    rule, _, uuid = entry.value.partition("group ")
    if uuid.startswith((NEW, LOST)):
        group = uuid.partition(":")[2]
    else:
        group = names.get(uuid, f"a group that is gone ({uuid})")
    return f"{entry.name or 'everywhere'}: {entry.key} {rule}{group}"
