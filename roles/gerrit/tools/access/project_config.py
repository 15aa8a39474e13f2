"""A project's configuration as a set of entries in one form: as declared, and as project.config has it.

A rule names a group by its UUID, as names change. What Gerrit takes for granted is no entry, whoever wrote it down.
Sections that nobody can declare (plugins, comment links, notifications) are kept as they are.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from roles.gerrit.tools.access import words
from roles.gerrit.tools.access.config_file import Entry, parse, parse_groups, render, render_groups
from roles.gerrit.tools.access.declaration import Label, Project, SubmitRequirement

Resolve = Callable[[str], str]
MANAGED = ("project", "access", "receive", "submit", "change", "reviewer", "capability", "label", "submit-requirement")
"""In the order in which they are written."""
EXCLUSIVE = "exclusiveGroupPermissions"
LOST = "lost:"
"""What stands for the UUID of a group that a rule names and `groups` lacks."""
_KEYS = {
    key.lower(): key
    for key in (
        *words.PERMISSIONS,
        *words.CAPABILITIES,
        *(one.partition(".")[2] for one in words.OPTIONS),
        *("description", "state", "inheritFrom", "action", EXCLUSIVE),
        *("value", "function", "defaultValue", "copyCondition", "branch", "allowPostSubmit", "ignoreSelfApproval"),
        *("canOverride", "applicableIf", "submittableIf", "overrideIf", "canOverrideInChildProjects"),
    )
}
_GRANTED = {
    ("project", "description", ""),
    ("project", "state", "active"),
    ("submit", "action", "inherit"),
    ("label", "description", ""),
    ("label", "defaultValue", "0"),
    ("label", "copyCondition", ""),
    ("label", "function", "MaxWithBlock"),
    ("label", "allowPostSubmit", "true"),
    ("label", "ignoreSelfApproval", "false"),
    ("label", "canOverride", "true"),
    ("submit-requirement", "description", ""),
    ("submit-requirement", "applicableIf", ""),
    ("submit-requirement", "overrideIf", ""),
    ("submit-requirement", "canOverrideInChildProjects", "false"),
}
_SWITCHES = {"allowPostSubmit", "ignoreSelfApproval", "canOverride", "canOverrideInChildProjects"}


@dataclass(frozen=True)
class Config:
    """What a commit of refs/meta/config holds. kept: entries that nobody can declare; named: its `groups`."""

    entries: frozenset[Entry]
    kept: tuple[Entry, ...]
    named: Mapping[str, str]


def read(project: str, text: str, groups: str) -> Config:
    """Of the texts of both files. Raises Broken."""
    named = parse_groups(groups)
    found, kept = set(), []
    for entry in parse(text):
        if entry.section in MANAGED:
            found |= {*_normal(project, entry, lambda name: named.get(name, LOST + name))}
        else:
            kept.append(entry)
    return Config(frozenset(found) | _inherited(project, found), tuple(kept), named)


def wanted(name: str, project: Project, resolve: Resolve) -> frozenset[Entry]:
    """As declared. resolve: the UUID of a group that is declared or used."""
    entries = [
        Entry("project", "", "description", project.description),
        Entry("project", "", "state", project.state),
        Entry("submit", "", "action", project.submit_type),
    ]
    if name != words.ALL_PROJECTS:
        entries.append(Entry("access", "", "inheritFrom", project.parent))
    for option, value in project.options.items():
        section, _, key = option.partition(".")
        entries.append(Entry(section, "", key, str(value).lower() if isinstance(value, bool) else str(value)))
    for ref, permissions in project.access.items():
        for permission, rules in permissions.items():
            key = EXCLUSIVE if permission == "exclusive" else permission
            entries += [Entry("access", ref, key, rule) for rule in rules]
    for capability, rules in project.capabilities.items():
        entries += [Entry("capability", "", capability, rule) for rule in rules]
    for label, one in project.labels.items():
        entries += [Entry("label", label, key, value) for key, value in _label(one)]
    for title, requirement in project.submit_requirements.items():
        entries += [Entry("submit-requirement", title, key, value) for key, value in _requirement(requirement)]
    return frozenset(made for entry in entries for made in _normal(name, entry, resolve))


def _label(one: Label) -> list[tuple[str, str]]:
    return [
        ("description", one.description),
        ("function", one.function),
        *(("value", f"{vote} {meaning}") for vote, meaning in one.values.items()),
        ("defaultValue", str(one.default)),
        ("copyCondition", one.copy_condition),
        *(("branch", branch) for branch in one.branches),
        ("allowPostSubmit", str(one.allow_post_submit).lower()),
        ("ignoreSelfApproval", str(one.ignore_self_approval).lower()),
        ("canOverride", str(one.can_override).lower()),
    ]


def _requirement(one: SubmitRequirement) -> list[tuple[str, str]]:
    return [
        ("description", one.description),
        ("applicableIf", one.applicable_if),
        ("submittableIf", one.submittable_if),
        ("overrideIf", one.override_if),
        ("canOverrideInChildProjects", str(one.override_in_children).lower()),
    ]


def _inherited(project: str, found: Iterable[Entry]) -> frozenset[Entry]:
    if project == words.ALL_PROJECTS or any(one.key == "inheritFrom" for one in found):
        return frozenset()
    return frozenset({Entry("access", "", "inheritFrom", words.ALL_PROJECTS)})


def _normal(project: str, entry: Entry, resolve: Resolve) -> list[Entry]:
    """The entry in the one form, or none where it says what goes without saying."""
    section, name, key, value = entry
    key = _KEYS.get(key.lower(), key)
    if section == "access" and key == EXCLUSIVE:
        return [Entry(section, name, key, _KEYS.get(one.lower(), one)) for one in value.split()]
    if section == "capability" or (section == "access" and name):
        before, group = words.rule(value)
        return [Entry(section, name, key, f"{before}group {resolve(group)}")]
    if (section, key) in (("project", "state"), ("submit", "action")):
        value = value.lower().replace("_", " ").replace("-", " ")
    elif (section, key) == ("label", "value"):
        found = re.fullmatch(r"([+-]?\d+)\s*(.*)", value.strip())
        value = f"{int(found[1]):+d} {found[2]}".replace("+0 ", "0 ").strip() if found else value
    elif (section, key) == ("label", "defaultValue"):
        value = str(int(value)) if re.fullmatch(r"[+-]?\d+", value) else value
    elif key in _SWITCHES or f"{section}.{key}" in words.OPTIONS:
        value = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false"}.get(value.lower(), value)
        value = value.lower() if value.lower() in ("true", "false", "inherit") else value
        if value == ("false" if project == words.ALL_PROJECTS else "inherit") and key not in _SWITCHES:
            return []
    return [] if (section, key, value) in _GRANTED else [Entry(section, name, key, value)]


def uuids(entries: Iterable[Entry]) -> frozenset[str]:
    """Of the groups in rules."""
    return frozenset(one.value.partition("group ")[2] for one in entries if is_rule(one))


def is_rule(entry: Entry) -> bool:
    return entry.section == "capability" or (entry.section == "access" and entry.name != "" and entry.key != EXCLUSIVE)


def written(entries: frozenset[Entry], before: Config, names: Mapping[str, str]) -> tuple[str, str]:
    """The texts of project.config and groups. names: of groups, by UUID, all that entries use."""
    lines: list[Entry] = []
    exclusive: dict[str, list[str]] = {}
    for entry in sorted(entries, key=_place):
        if entry.key == EXCLUSIVE:
            exclusive.setdefault(entry.name, []).append(entry.value)
        elif is_rule(entry):
            rule, _, uuid = entry.value.partition("group ")
            lines.append(entry._replace(value=f"{rule}group {names[uuid]}"))
        else:
            lines.append(entry)
    lines += [Entry("access", ref, EXCLUSIVE, " ".join(sorted(values))) for ref, values in exclusive.items()]
    kept = {
        name: uuid
        for name, uuid in before.named.items()
        if any(re.search(rf"(^|\s)group {re.escape(name)}$", entry.value) for entry in before.kept)
    }
    used = {names[uuid]: uuid for uuid in uuids(entries)}
    return render(sorted(lines, key=_place) + list(before.kept)), render_groups(kept | used)


def _place(entry: Entry) -> tuple[object, ...]:
    """Where it stands in a file: sections in their order, what is exclusive first, votes from the lowest."""
    vote = re.match(r"[+-]?\d+", entry.value) if entry.key == "value" else None
    return (
        MANAGED.index(entry.section),
        entry.name,
        entry.key != EXCLUSIVE,
        entry.key,
        int(vote[0]) if vote else 0,
        entry.value,
    )
