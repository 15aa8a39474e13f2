"""The ceremonies there are checklists for, made from hsm.toml alone: no device is asked."""

from collections.abc import Callable, Iterator, Sequence

from inventories.errors import InputError
from roles.signing.tools.ceremony import fingerprints, steps
from roles.signing.tools.ceremony.checklist import BOTH, OPERATOR, WITNESS, Checklist, Step
from roles.signing.tools.ceremony.steps import Scene
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.reading import DEFAULT_KEY

SIGNATURES = {"sign-pkcs": "sign-pkcs1", "sign-pss": "sign-pss", "sign-ecdsa": "sign-ecdsa", "sign-eddsa": "sign-eddsa"}
"""What a log calls a signature, by the capability that it takes."""


def checklist(declared: Declared, kind: str, devices: Sequence[str]) -> Checklist:
    """devices: names of those that it is about; by default as KINDS says. Raises InputError, HsmError."""
    title, made, by_default = KINDS[kind]
    places = declared.custody.chosen(devices) if devices else declared.custody.devices[by_default]
    scene = Scene(declared, Folder(declared.folder), kind, places)
    if kind != "sign":
        _refuse_factory_id(declared)
    return Checklist(
        kind=kind,
        title=title,
        declared=str(declared.path),
        digest=fingerprints.of_file(declared.path),
        devices=tuple(f"{place}" for place in places),
        people=steps.everyone(scene) if kind != "sign" else (OPERATOR, WITNESS),
        steps=tuple(made(scene)),
    )


def new_hsm(scene: Scene) -> Iterator[Step]:
    yield from steps.begin(scene)
    repository = steps.quoted(scene.repository)
    yield Step(
        OPERATOR,
        "The repository of the logs. Where there is one of other devices already, this leaves it as it is.",
        (f"git init -q -b main {repository}",),
    )
    yield from steps.shares(scene)
    yield steps.plan(scene)
    yield from steps.make(scene, "new ones, that those who are to have them think of and keep")
    yield from steps.drop_factory_key(scene)
    yield from steps.bring_certificates(scene)
    yield from steps.finish(scene)
    yield from steps.prove(scene)
    yield from steps.custody(scene)
    yield steps.verify()
    yield steps.commit(scene, "as they are now")
    others = scene.places[1:]
    last = f"Unplug {' and '.join(place.name for place in others)}, and lock it into the safe." if others else ""
    yield from steps.end(scene, last)


def sign(scene: Scene) -> Iterator[Step]:
    yield from steps.begin(scene)
    yield from steps.prove(scene)
    yield from steps.custody(scene)
    yield steps.commit(scene, "before anything is signed")
    yield Step(
        OPERATOR,
        "Sign, by your signing scripts, each call of a tool in custody (`hsm-run` is the same for scripts).",
        ("mainstay hsm run -- ____",),
        note=("release",),
    )
    yield from steps.custody(scene)
    counts = "".join(f" --expect {name}=____" for name in signatures(scene.declared))
    yield Step(
        BOTH,
        "The signatures in the logs are those of this release, and no others: fill in the commit from above, and for "
        "each key how many the release's list has, 0 where it has none. Stop, and publish nothing, if it says anything "
        "else: exit code 55 is another count, 54 an incident.",
        (f"mainstay hsm verify --since ____{counts}",),
        (steps.WHOLE,),
    )
    yield steps.commit(scene, "after it, which goes into the release's record")
    yield from steps.end(
        scene, "Take the logs along, where the host has no network: `mainstay hsm drain --bundle FILE`."
    )


def restore(scene: Scene) -> Iterator[Step]:
    yield from steps.begin(scene)
    folder = scene.declared.folder
    yield Step(
        OPERATOR,
        f"The device is as it left the factory. In {folder} are the wrapped files and certificates, from the "
        f"backup if need be; in {scene.repository} the logs so far. Write down their newest commit.",
        (f"git -C {steps.quoted(scene.repository)} rev-parse --short=12 HEAD",),
        note=("commit",),
    )
    yield steps.plan(scene)
    yield from steps.make(scene, "the same as on the other device")
    yield from steps.drop_factory_key(scene)
    yield from steps.finish(scene)
    yield from steps.prove(scene)
    yield from steps.custody(scene)
    yield steps.verify()
    yield from steps.end(
        scene, "With the other device plugged in, too, `mainstay hsm plan` shows that both hold the same."
    )


def signatures(declared: Declared) -> Iterator[str]:
    """What each declared key can sign, as `verify --expect` has it."""
    for name, one in declared.file.keys.items():
        for capability, command in SIGNATURES.items():
            if capability in declared.key_class(name).capabilities:
                yield f"{command}@{one.id:#06x}"


def _refuse_factory_id(declared: Declared) -> None:
    """The keys that are needed before the factory's is deleted cannot have its id."""
    for table in (declared.file.state, declared.file.log):
        if declared.file.authentication_keys[table.key].id == DEFAULT_KEY:
            problem = f"{DEFAULT_KEY:#06x} is the factory's key until this one can take its place, and it cannot then"
            raise InputError(declared.path, f"authentication_keys.{table.key}.id", problem, "give it another id")


KINDS: dict[str, tuple[str, Callable[[Scene], Iterator[Step]], slice]] = {
    "new-hsm": ("New YubiHSM 2, from the factory to what is declared", new_hsm, slice(None)),
    "sign": ("A release is signed", sign, slice(1)),
    "restore": ("A YubiHSM 2 made again from shares and wrapped files", restore, slice(-1, None)),
}
"""Title, steps, and the devices that it is about by default: when signing, the backup is in its safe."""
