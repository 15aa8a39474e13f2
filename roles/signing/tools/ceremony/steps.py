"""Steps that ceremonies share, by what hsm.toml declares."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from yubihsm.defs import OBJECT

from roles.signing.tools.ceremony import fingerprints, holders
from roles.signing.tools.ceremony.checklist import BOTH, OPERATOR, WITNESS, Step
from roles.signing.tools.state.folder import CERTIFICATE, WRAPPED, Folder
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.objects import Described
from roles.signing.tools.state.reading import DEFAULT_KEY, DEFAULT_PASSWORD
from roles.signing.tools.wire import Place

FACTORY = f"{DEFAULT_KEY:#06x}"
WHOLE = "every chain is whole, and the history only added to them"


class Scene(NamedTuple):
    """places: the devices that it is about; `chosen` are the options of commands that are about these alone."""

    declared: Declared
    folder: Folder
    kind: str
    places: tuple[Place, ...]

    @property
    def repository(self) -> Path:
        return self.declared.custody.repository

    @property
    def chosen(self) -> str:
        every = len(self.places) == len(self.declared.custody.devices)
        return "" if every else "".join(f" --device {place.name}" for place in self.places)

    @property
    def names(self) -> str:
        return " and ".join(place.name for place in self.places)

    def each(self, one: Described) -> tuple[str, ...]:
        """How plan and apply name an object on the devices."""
        return tuple(f"{place.name}: {one}" for place in self.places)


def begin(scene: Scene) -> Iterator[Step]:
    """The right people, before the right machine, with the right declaration."""
    serials = "; ".join(f"{place.name}: serial number {place.serial:010}" for place in scene.places)
    yield Step(
        BOTH,
        "Write name, date and time at the top, by a clock that both trust. Compare the serial numbers printed on the "
        f"devices ({serials}) with this page, and plug them in. Phones and cameras stay outside.",
    )
    path = quoted(transcript(scene))
    yield Step(
        OPERATOR,
        "At the signing host, begin the transcript. It is a shell; all commands that follow are typed in it.",
        (f"mainstay hsm record {path}",),
        ("recorded in",),
    )
    yield Step(
        BOTH,
        "What is declared is what was reviewed: the operator reads the digits from the screen, the witness follows "
        "them on this page. Stop if one differs.",
        ("mainstay hsm fingerprints --files",),
        aloud={scene.declared.path.name: fingerprints.of_file(scene.declared.path)},
    )


def end(scene: Scene, last: str) -> Iterator[Step]:
    """last: what is done with the devices and papers."""
    yield Step(
        BOTH,
        "End the transcript; write down its hash and how many things were left out of it.",
        ("exit",),
        ("left out", fingerprints.NAME),
        {str(transcript(scene)): ""},
        ("things left out",),
    )
    yield Step(BOTH, f"{last} Both sign at the top, and write the time of the end.")


def transcript(scene: Scene) -> Path:
    """Beside the logs' repository. It is only ever added to."""
    return scene.repository.parent / f"{scene.kind}.transcript"


def plan(scene: Scene) -> Step:
    """By the factory's key: all that is going to be made."""
    declared = scene.declared
    tables = declared.wrap_keys(), declared.authentication_keys()
    made = [one for table in tables for one in table.values() if one.place != (OBJECT.AUTHENTICATION_KEY, DEFAULT_KEY)]
    return Step(
        BOTH,
        f"Look at what is going to be made on {scene.names}. The password of {FACTORY} is the one that devices leave "
        f"the factory with, `{DEFAULT_PASSWORD}`. Each of these has a line, and no other key is on the devices.",
        (f"mainstay hsm plan --key {FACTORY}{scene.chosen}",),
        (*(name for one in made for name in scene.each(one)), "things to be done"),
    )


def make(scene: Scene, passwords: str) -> Iterator[Step]:
    """By the factory's key, while it is there. passwords: what is known of those of authentication keys."""
    who, told = _wrap_key_people(scene)
    yield Step(
        who,
        f"Make it: the factory's password, `y`; {told}; then the password of each authentication key, twice: "
        f"{passwords}. What is typed is not shown. What it cannot make yet is listed at the end.",
        (f"mainstay hsm apply --key {FACTORY}{scene.chosen}",),
        ("done: ", *(f"{place.name}: authentication-key {FACTORY}" for place in scene.places)),
    )


def _wrap_key_people(scene: Scene) -> tuple[str, str]:
    people, told = [], []
    for name, one in scene.declared.file.wrap_keys.items():
        if one.shares:
            numbered = ", ".join(f"{number} {holder}" for number, holder in enumerate(one.shares.holders, 1))
            people.append(f"{one.shares.threshold} holders of shares of {name} ({numbered})")
            told.append(
                f"for {name} any {one.shares.threshold} holders one after the other type the words of their share, "
                "alone at the keyboard; a mistyped one is asked for again"
            )
        else:
            people.append(f"who has the digits of {name}")
            told.append(f"for {name} its hexadecimal digits, twice")
    return ", ".join([OPERATOR, *people]), "; ".join(told) or "there is no wrap key"


def shares(scene: Scene) -> Iterator[Step]:
    """Made once for a wrap key, and handed out."""
    for name, one in scene.declared.file.wrap_keys.items():
        if not one.shares:
            continue
        folder = scene.repository.parent / "shares"
        files = [holders.file_name(name, number, holder) for number, holder in enumerate(one.shares.holders, 1)]
        yield Step(
            OPERATOR,
            f"Only where {name} is a new wrap key (where its shares exist, strike this step and the next out): make it "
            "and its shares. Nobody sees the key, now or later.",
            (f"mainstay hsm shares split {name} --out {quoted(folder)}",),
            tuple(str(folder / file) for file in files),
        )
        yield Step(
            f"holders of shares of {name}",
            f"Each takes their file ({', '.join(files)}) to their own machine, reads their share there by "
            "`age -d -i ~/.ssh/id_ed25519 FILE`, and writes it on paper that stays with them.",
        )


def drop_factory_key(scene: Scene) -> Iterator[Step]:
    """Only after the new keys were seen to open the devices: nobody gets in any more otherwise."""
    declared = scene.declared
    admin = declared.file.state.key
    left = tuple(f"{place.name}: authentication-key {FACTORY}" for place in scene.places)
    yield Step(
        OPERATOR,
        f"See that the key {admin} opens {scene.names}, before the factory's is gone: with its password this shows "
        "what is left. If it is refused, stop: the factory's key is the only way in.",
        (f"mainstay hsm plan{scene.chosen}",),
        left,
    )
    for place in scene.places:
        delete = f"yubihsm-shell --connector={place.connector} --authkey={FACTORY}"
        delete += f" --action=delete-object --object-id={FACTORY} --object-type=authentication-key"
        yield Step(
            BOTH,
            f"Delete the factory's key on {place.name}: the password of {declared.custody.reader}, then the factory's, "
            f"`{DEFAULT_PASSWORD}`. The key deletes itself, so no key of yours needs the right to delete keys.",
            (f"mainstay hsm run --device {place.name} -- {delete}",),
        )


def bring_certificates(scene: Scene) -> Iterator[Step]:
    """What is to be there before `apply` can end."""
    declared = scene.declared
    missing = [
        f"{one.id:#06x}{CERTIFICATE} ({name})"
        for name, one in declared.keys().items()
        if declared.key_class(name).certificate and declared.resident(name)
    ]
    if missing:
        yield Step(
            OPERATOR,
            f"Put the certificate of each key, as your signing scripts make it, into {declared.folder}, where it is "
            f"not there already: {', '.join(missing)}.",
        )
    away = [f"{one.id:#06x}{WRAPPED} ({name})" for name, one in declared.keys().items() if not declared.resident(name)]
    if away:
        told = f"Put the wrapped file of each key that is on no device into {declared.folder}: {', '.join(away)}."
        yield Step(OPERATOR, told)


def finish(scene: Scene) -> Iterator[Step]:
    """What only goes once the factory's key is gone, and what takes certificates."""
    declared = scene.declared
    admin = declared.file.state.key
    its = [name for name, one in declared.file.authentication_keys.items() if one.id == DEFAULT_KEY]
    if its or declared.certificates():
        again = f", and a password for {its[0]}, twice" if its else ""
        yield Step(
            OPERATOR,
            f"Make the rest: the password of {admin}, `y`{again}. It ends with the number of changes, and nothing is "
            "left to be done.",
            (f"mainstay hsm apply{scene.chosen}",),
            ("done: ",),
        )


def prove(scene: Scene) -> Iterator[Step]:
    """Nothing but what is declared, and the keys by their hashes. An audit minds a log that is nearly full."""
    yield from custody(scene)
    yield Step(
        BOTH,
        f"Nothing is on {scene.names} that is not declared, and nothing that is declared is missing: the password of "
        f"{scene.declared.file.state.key}.",
        (f"mainstay hsm audit{scene.chosen}",),
        ("nothing is wrong",),
    )
    resident = fingerprints.named(scene.declared, scene.folder)
    if resident:
        yield Step(
            BOTH,
            "Fingerprints of the keys. After each, the screen names the devices that have it: it has to be "
            f"{scene.names}. The operator reads each aloud; the witness follows it on this page, or writes it down "
            "where none is printed.",
            (f"mainstay hsm fingerprints{scene.chosen}",),
            tuple(resident),
            resident,
        )


def custody(scene: Scene) -> Iterator[Step]:
    """The logs, whole and in git."""
    yield Step(
        OPERATOR,
        f"Bring the logs into custody: the password of {scene.declared.custody.reader}.",
        (f"mainstay hsm drain{scene.chosen}",),
        tuple(f"{place}: " for place in scene.places),
    )


def verify(options: str = "") -> Step:
    return Step(BOTH, "The logs are whole.", (f"mainstay hsm verify{options}",), (WHOLE,))


def commit(scene: Scene, what: str) -> Step:
    return Step(
        BOTH,
        f"Write down the commit of the logs {what}.",
        (f"git -C {quoted(scene.repository)} rev-parse --short=12 HEAD",),
        note=("commit",),
    )


def quoted(path: Path) -> str:
    return shlex.quote(str(path))


def everyone(scene: Scene) -> tuple[str, ...]:
    """Who signs."""
    people = [OPERATOR, WITNESS]
    for name, one in scene.declared.file.wrap_keys.items():
        if one.shares:
            people += [f"holder of share {at} of {name}, {holder}" for at, holder in enumerate(one.shares.holders, 1)]
    return tuple(people)
