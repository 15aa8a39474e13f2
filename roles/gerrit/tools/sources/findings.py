"""What an audit of sources finds: a closed list of kinds, and a line each."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from backup.sizes import clean

WRONG, UNKNOWN = "critical", "faint"
"""Severities, by what pages call them: it fails the audit; it could not be judged."""
SHOWN = 300
"""Characters of what a server says that are shown."""


class Kind(Enum):
    """What it is called, whether it fails an audit, and what to do."""

    UNREACHABLE = "no answer", WRONG, "bring back the server, its front or its certificate, and audit again"
    ANSWER = "wrong answer", WRONG, "see what stands at that address: its front, the server's log"
    MISSING = "missing project", WRONG, "make it on the server and push it, or take it out of the manifest"
    PRIVATE = (
        "not anonymous",
        WRONG,
        "let Anonymous Users read it; make it if it is not there, as Gerrit answers the same",
    )
    REVISION = "missing revision", WRONG, "push it to a branch or a tag, or name another one in the manifest"
    BROKEN = "broken objects", WRONG, "push the objects from a clone that has them, or restore the repository"
    MIRROR_MISSING = "mirror missing", WRONG, "make it on the mirror, then replicate it"
    MIRROR_BEHIND = "mirror behind", WRONG, "replicate it; if it stays, the mirror's log says why it refuses"
    MIRROR_AHEAD = "mirror ahead", WRONG, "find out what the server lost: push what only the mirror has to it"
    MIRROR_DIFFERS = "mirror differs", WRONG, "find out which is right, then push or replicate that by force"
    LFS_MISSING = "missing lfs object", WRONG, "`git lfs push --object-id` from a clone that has it"
    LFS_SIZE = "wrong lfs size", WRONG, "remove the object from the store, then push it again"
    LFS_CONTENT = "wrong lfs content", WRONG, "remove the object from the store, then push it again"
    LFS_SERVER = "lfs no answer", WRONG, "bring back the LFS server, or open it to anonymous downloads"
    MANIFEST = "no manifest", WRONG, "see that anybody can fetch it, and that `repo` reads it"
    NO_ROOM = "not read", UNKNOWN, "give the machine that audits more room: disk for the largest repository, and memory"
    UNASKED = "not asked", UNKNOWN, "only http and https are asked, and LFS on the project's own host: look yourself"

    def __init__(self, word: str, severity: str, to_do: str) -> None:
        self.word, self.severity, self.to_do = word, severity, to_do


ORDER = {kind: number for number, kind in enumerate(Kind)}


@dataclass(frozen=True)
class Finding:
    """url: what was asked; project, path, where: as the manifest has them; file: of an LFS pointer; devices, groups:
    of the manifest that are hit, devices empty: all that check it out."""

    project: str
    path: str
    url: str
    revision: str
    file: str
    kind: Kind
    found: str
    expected: str
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    where: str = ""

    def __str__(self) -> str:
        about = ": ".join(filter(None, (self.project, self.url, self.file)))
        told = f"found {self.found}; expected {self.expected}; hits {self.hits}; to do: {self.kind.to_do}"
        return f"{about}: {self.kind.word}: {told}"

    @property
    def hits(self) -> str:
        """In words."""
        return ", ".join(self.devices) or "every device"

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "project": self.project,
            "path": self.path,
            "url": self.url,
            "revision": self.revision,
            "file": self.file,
            "kind": self.kind.word,
            "fails": self.kind.severity == WRONG,
            "found": self.found,
            "expected": self.expected,
            "to_do": self.kind.to_do,
            "devices": list(self.devices),
            "groups": list(self.groups),
            "where": self.where,
        }


def shown(said: object) -> str:
    """What others said, fit for a terminal: one line, not long."""
    text = " ".join(str(said).split())
    return clean(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def settled(found: Iterable[Finding]) -> list[Finding]:
    """Each once, the worst first."""
    return sorted(dict.fromkeys(found), key=lambda one: (ORDER[one.kind], one.project, one.url, one.path, one.file))
