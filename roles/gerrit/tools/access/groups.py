"""Groups: made, called and filled as declared. What is added comes before what is removed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from roles.gerrit.tools.access import lockout, words
from roles.gerrit.tools.access.accounts import waited_for
from roles.gerrit.tools.access.declaration import Group
from roles.gerrit.tools.access.declared import Declared
from roles.gerrit.tools.access.found import NEW, Found, FoundGroup
from roles.gerrit.tools.access.steps import Step
from roles.gerrit.tools.rest import Request, part


def known(declared: Declared, found: Found, remembered: Mapping[str, str]) -> Found:
    """With declared groups that are there under another name, by what this machine remembers of their UUIDs."""
    there = {group.name for group in found.groups.values()}
    gone = {name: found.groups.get(remembered.get(name, "")) for name in declared.groups if name not in there}
    other = {group.uuid: name for name, group in gone.items() if group and group.name not in declared.groups}
    named = {uuid: replace(one, name=other.get(uuid, one.name)) for uuid, one in found.groups.items()}
    return replace(found, groups=named, called={name: found.groups[uuid].name for uuid, name in other.items()})


def made(declared: Declared, found: Found) -> Iterator[Step]:
    """Those that are not there, or are called otherwise."""
    administrators = found.uuid(words.ADMINISTRATORS)
    for name, group in sorted(declared.groups.items()):
        if name in found.called:
            told = f"~ is called {found.called[name]!r} there: renamed back"
            yield Step(
                f"group {name}", (told,), requests=(Request("PUT", f"/groups/{found.uuid(name)}/name", {"name": name}),)
            )
        elif not found.uuid(name):
            body = {
                "description": group.description,
                "visible_to_all": group.visible,
                "owner_id": administrators,
                "members": [],
            }
            told = "+ group" + (f", {group.description}" if group.description else "")
            yield Step(
                f"group {name}", (told,), requests=(Request("PUT", f"/groups/{part(name)}", body, tolerated=(409,)),)
            )


def filled(declared: Declared, found: Found) -> Iterator[Step]:
    """What is to be changed or added of each."""
    waiting = waited_for(declared, found)
    for name, group, there in _each(declared, found):
        at = f"/groups/{there.uuid or part(name)}"
        told, asked = [], []
        if group.description != there.description:
            told.append(f"~ description: {there.description!r} -> {group.description!r}")
            asked.append(Request("PUT", f"{at}/description", {"description": group.description}))
        if group.visible != there.visible:
            told.append(f"~ visible to {'everybody' if group.visible else 'its members alone'}")
            asked.append(Request("PUT", f"{at}/options", {"visible_to_all": group.visible}))
        if (owner := found.uuid(group.owner)) != there.owner or not owner:
            told.append(f"~ owner: {found.names().get(there.owner, there.owner)} -> {group.owner}")
            asked.append(Request("PUT", f"{at}/owner", {"owner": owner or group.owner}))
        for member in sorted(declared.members(name) - {*there.members} - waiting):
            told.append(f"+ member {member}")
            number = found.accounts[member].number if member in found.accounts else part(member)
            asked.append(Request("PUT", f"{at}/members/{number}"))
        for other in sorted(group.includes):
            if (uuid := found.uuid(other)) not in there.includes:
                told.append(f"+ includes {other}")
                asked.append(Request("PUT", f"{at}/groups/{part(uuid or other)}"))
        if told:
            yield Step(f"group {name}", tuple(told), requests=tuple(asked))


def emptied(declared: Declared, found: Found) -> Iterator[Step]:
    """What is to be removed of each."""
    names = found.names()
    bots = declared.bots
    for name, group, there in _each(declared, found):
        at = f"/groups/{there.uuid or part(name)}"
        kept = declared.members(name) | ({*bots} if name == words.SERVICE_USERS else set())
        told, asked = [], []
        for member, number in sorted(there.members.items()):
            if member not in kept:
                told.append(f"- member {member}")
                asked.append(Request("DELETE", f"{at}/members/{number}", tolerated=(404,)))
        for uuid in sorted(there.includes - {found.uuid(other) for other in group.includes}):
            told.append(f"- includes {names.get(uuid, uuid)}")
            asked.append(Request("DELETE", f"{at}/groups/{part(uuid)}", tolerated=(404,)))
        if told:
            yield Step(f"group {name}", tuple(told), requests=tuple(asked))


def _each(declared: Declared, found: Found) -> Iterator[tuple[str, Group, FoundGroup]]:
    """With what is there; one that is yet to be made is as it will be then."""
    administrators = found.uuid(words.ADMINISTRATORS)
    for name, group in sorted(declared.groups.items()):
        fresh = FoundGroup("", name, group.description, administrators, group.visible, {}, frozenset())
        yield name, group, found.groups.get(found.uuid(name)) or fresh


def as_declared(declared: Declared, found: Found) -> dict[str, lockout.Members]:
    """All groups as they will be, by UUID, and by `new:` and their name where they have none yet."""
    will = {uuid: lockout.Members(frozenset(group.members), group.includes) for uuid, group in found.groups.items()}
    for name, group, there in _each(declared, found):
        includes = frozenset(found.uuid(other) or NEW + other for other in group.includes)
        members = lockout.Members(declared.members(name), includes)
        will[there.uuid or NEW + name] = will[NEW + name] = members
    return will
