"""What a publication of the website changes for its visitors. Pure."""

from dataclasses import dataclass
from typing import Any

from roles.web.archive import made_of

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What a publication or a way back does. Paths of compressed files are left out."""

    id: str
    """Empty where a dry run cannot tell it: it begins with the time of the publication."""
    before: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    size: int
    """Bytes of what is new, wherever it was before."""

    @property
    def anything(self) -> bool:
        return not self.id or self.id != self.before

    def __str__(self) -> str:
        if not self.anything:
            return f"{self.id} is served already"
        count = f"{len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed"
        return f"{self.before or 'nothing'} -> {self.id or 'a new release'}: {count}"


def compare(now: Manifest, then: Manifest) -> Change:
    """What a visitor would find otherwise."""
    old, new = ({file["path"]: file["sha256"] for file in one["files"]} for one in (now, then))
    known = {*old.values()}
    size = sum({file["sha256"]: file["size"] for file in then["files"] if file["sha256"] not in known}.values())
    for one in (old, new):
        for path in [path for path in one if made_of(path) in one]:
            del one[path]
    return Change(
        then["id"],
        now["id"],
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(path for path in new.keys() & old.keys() if new[path] != old[path])),
        tuple(sorted(old.keys() - new.keys())),
        size,
    )
