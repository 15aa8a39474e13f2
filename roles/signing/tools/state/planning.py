"""What is between the declaration and the devices, in words; and of it what `apply` does, in a safe order.

It creates what is missing, and nothing else: what would delete or replace something is said, and left to a person.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from yubihsm.defs import AUDIT, OBJECT

from roles.signing.tools.state import folder as files
from roles.signing.tools.state import making, words
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.objects import Described, differences
from roles.signing.tools.state.opened import Opened
from roles.signing.tools.state.reading import Found

DIFFERS = 52
"""Exit code: a device is not as declared."""
Do = Callable[[Mapping[str, Opened]], None]
"""What a step does with the devices, by their names."""


class Step(NamedTuple):
    """words: what differs. do: what makes it as declared; None where a person has to, and the words say how.

    secret: the name of the key whose password, or whose hexadecimal digits, it takes.
    """

    about: str
    words: tuple[str, ...]
    do: Do | None = None
    secret: str = ""


class Plan(NamedTuple):
    """steps: in the order of doing."""

    steps: tuple[Step, ...]

    @property
    def doable(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.do)

    @property
    def exit_code(self) -> int:
        return DIFFERS if self.steps else 0

    def as_json(self) -> dict[str, object]:
        return {
            "exit_code": self.exit_code,
            "differences": [
                {"about": step.about, "words": step.words, "by_hand": step.do is None} for step in self.steps
            ],
        }


def plan(declared: Declared, found: Sequence[Found], folder: Folder, secret: making.Secret) -> Plan:
    """found: the primary first. secret: asked when a step is done.

    A key is generated only where all devices are looked at, and none of them has it.
    """
    steps = [
        *(step for one in found for step in _firmware(declared, one)),
        *(step for one in found for step in _wrap_keys(declared, one, secret)),
        *(step for one in found for step in _authentication_keys(declared, one, secret)),
        *(step for one in found for step in _options(declared, one)),
        *_keys(declared, found, folder),
        *(step for one in found for step in _certificates(declared, one, folder)),
        *(step for one in found for step in _undeclared(declared, one)),
        *_unequal(declared, found),
    ]
    return Plan(tuple(steps))


def everything(declared: Declared) -> dict[tuple[OBJECT, int], Described]:
    """All that may be on a device."""
    tables = (declared.authentication_keys(), declared.wrap_keys(), declared.keys(), declared.certificates())
    return {one.place: one for table in tables for one in table.values()}


def _firmware(declared: Declared, found: Found) -> Iterator[Step]:
    if found.firmware < declared.file.minimum:
        version = ".".join(str(part) for part in found.firmware)
        told = f"~ firmware {version}, older than {declared.file.firmware}: it cannot be upgraded, take another device"
        yield Step(_on(found, "firmware"), (told,))


def _wrap_keys(declared: Declared, found: Found, secret: making.Secret) -> Iterator[Step]:
    for name, one in declared.wrap_keys().items():
        about = _on(found, str(one))
        if one.place in found.objects:
            yield from _changed(declared, about, one, found)
        else:
            shared = declared.file.wrap_keys[name].shares
            which = "its hexadecimal digits are asked for"
            told = f"+ put in: {f'{shared.threshold} of its shares make it' if shared else which}"
            yield Step(about, (told,), making.wrap_key(found.place, one, partial(secret, name)), name)


def _authentication_keys(declared: Declared, found: Found, secret: making.Secret) -> Iterator[Step]:
    for name, one in declared.authentication_keys().items():
        about = _on(found, str(one))
        if one.place in found.objects:
            yield from _changed(declared, about, one, found)
        else:
            do = making.authentication_key(found.place, one, partial(secret, name))
            yield Step(about, ("+ made with the password that is asked for",), do, name)


def _options(declared: Declared, found: Found) -> Iterator[Step]:
    wanted = {
        int(code): words.AUDITS[declared.file.audit.of(name)]
        for name, code in words.COMMANDS.items()
        if int(code) in found.commands
    }
    told, changed = [], {}
    for code, audit in wanted.items():
        if audit != (now := found.commands[code]):
            name = words.of(words.COMMANDS, code)
            told.append((name, now, audit))
            changed[code] = audit
    stuck = [f"{name} {_was(now, audit)}" for name, now, audit in told if now == AUDIT.FIXED]
    if stuck:
        yield Step(_on(found, "audit of commands"), (f"~ {', '.join(stuck)}: a factory reset alone changes that",))
    if free := {code: audit for code, audit in changed.items() if found.commands[code] != AUDIT.FIXED}:
        lines: dict[str, list[str]] = {}
        for name, now, audit in told:
            if now != AUDIT.FIXED:
                lines.setdefault(_was(now, audit), []).append(name)
        said = tuple(f"~ {what}: {', '.join(names)}" for what, names in lines.items())
        yield Step(_on(found, "audit of commands"), said, making.command_audit(found.place, free))
    force = words.AUDITS[declared.file.audit.force]
    if found.force != force:
        fixed = found.force == AUDIT.FIXED
        line = f"~ {_was(found.force, force)}" + (": a factory reset alone changes that" if fixed else "")
        yield Step(_on(found, "forced audit"), (line,), None if fixed else making.force_audit(found.place, force))


def _keys(declared: Declared, found: Sequence[Found], folder: Folder) -> Iterator[Step]:
    """What is there and otherwise, and what is nowhere or not everywhere."""
    whole = len(found) == len(declared.file.devices)
    for name, one in declared.keys().items():
        holders = [each for each in found if one.place in each.objects]
        for holder in holders:
            yield from _changed(declared, _on(holder, str(one)), one, holder)
        missing = [each for each in found if each not in holders] if declared.resident(name) else []
        of = declared.key_class(name)
        path = folder.wrapped.get(one.id)
        export = of.export and path is None
        if not missing and not (export and (holders or declared.resident(name))):
            if not declared.resident(name) and path is None:
                yield Step(str(one), ("~ is not on a device, and has no wrapped file: bring the file back",))
            continue
        lines, by_hand = _way(one, holders, missing, folder, of.generate, of.wrap_key, export, whole)
        if by_hand:
            yield Step(str(one), lines)
            continue
        wrap = declared.wrap_keys()[of.wrap_key].id if of.wrap_key else 0
        source = holders[0].place if holders else None
        yield Step(str(one), lines, making.key(one, source, [each.place for each in missing], wrap, export, folder))


def _way(
    one: Described,
    holders: Sequence[Found],
    missing: Sequence[Found],
    folder: Folder,
    generate: bool,
    wrap_key: str,
    export: bool,
    whole: bool,
) -> tuple[tuple[str, ...], bool]:
    """How a key comes to where it is missing, in words, and whether a person has to bring it.

    whole: all devices were looked at.
    """
    path = folder.wrapped.get(one.id)
    names = ", ".join(each.place.name for each in missing)
    if path and (wrong := files.problem(path, one.algorithm)):
        return (f"~ missing on {names}, and {path} {wrong}: bring the right file back",), True
    if path and not wrap_key:
        return (f"~ missing on {names}, and its class names no wrap_key to import {path.name} by",), True
    if path:
        return (f"+ imported on {names} from {path.name}",), False
    file = f"{one.id:#06x}{files.WRAPPED}"
    if holders:
        if not export:
            told = f"~ missing on {names}; it has no wrapped file, and its class exports none"
            return (told + ": a person has to bring its file",), True
        lines = [f"+ exported by {holders[0].place.name} to {file}"]
        return (*lines, *([f"+ imported on {names} from there"] if missing else [])), False
    if one.id in folder.certificates:
        told = f"~ missing on {names}, and there is a certificate of it ({folder.certificates[one.id].name})"
        return (f"{told}: it was made before. A new one would be another key: bring its wrapped file back",), True
    if not generate:
        return (f"~ missing on {names}; it has no wrapped file, and its class generates none",), True
    if not whole:
        return (f"~ missing on {names}; whether another device has it is not known: look at all of them",), True
    first, *others = missing
    if others and not export:
        told = f"~ missing on {names}: generated on one, it could not come to the other, as its class does not export"
        return (told,), True
    lines = [f"+ generated on {first.place.name}"]
    lines += [f"+ exported to {file}"] if export else []
    lines += [f"+ imported on {', '.join(each.place.name for each in others)}"] if others else []
    return tuple(lines), False


def _certificates(declared: Declared, found: Found, folder: Folder) -> Iterator[Step]:
    for name, one in declared.certificates().items():
        about = _on(found, str(one))
        key = OBJECT.ASYMMETRIC_KEY, one.id
        if one.place in found.objects:
            yield from _changed(declared, about, one, found)
        elif declared.resident(name) or key in found.objects:
            path = folder.certificates.get(one.id)
            if path:
                yield Step(about, (f"+ put in from {path.name}",), making.certificate(found.place, one, path))
            else:
                told = f"~ missing, and there is no {one.id:#06x}{files.CERTIFICATE}: a person has to make one"
                yield Step(about, (told,))


def _undeclared(declared: Declared, found: Found) -> Iterator[Step]:
    known = everything(declared)
    for where, there in sorted(found.objects.items()):
        if where not in known:
            told = f"- is not declared; {_deletion(declared, found, there.described)}"
            yield Step(_on(found, str(there.described)), (told,))


def _unequal(declared: Declared, found: Sequence[Found]) -> Iterator[Step]:
    """Where a backup holds something else than the primary under the same id."""
    first, *others = found
    for where, one in everything(declared).items():
        for other in others:
            mine, its = first.objects.get(where), other.objects.get(where)
            if mine and its and (mine.public, mine.certificate) != (its.public, its.certificate):
                what = "another key" if mine.public else "another certificate"
                told = f"~ {what} than on {first.place.name}: find out which is right"
                yield Step(_on(other, str(one)), (f"{told}; {_deletion(declared, other, one)}",))


def _changed(declared: Declared, about: str, one: Described, found: Found) -> Iterator[Step]:
    lines = [f"~ {line}" for line in differences(one, found.objects[one.place].described)]
    if lines:
        again = f"~ nothing of it can be changed: {_deletion(declared, found, one)}, then `mainstay hsm apply`"
        yield Step(about, (*lines, again))


def _deletion(declared: Declared, found: Found, one: Described) -> str:
    """With device and key, as the tool would take the first device and the factory's key."""
    key = declared.file.authentication_keys[declared.file.state.key].id
    where = f"-C {found.place.connector} --authkey {key:#06x}"
    kind = words.of(words.OBJECTS, one.type)
    return f"`yubihsm-shell {where} -a delete-object -i {one.id:#06x} -t {kind}` deletes it"


def _was(now: AUDIT, wanted: AUDIT) -> str:
    return f"{words.of(words.AUDITS, now)} in place of {words.of(words.AUDITS, wanted)}"


def _on(found: Found, what: str) -> str:
    return f"{found.place.name}: {what}"
