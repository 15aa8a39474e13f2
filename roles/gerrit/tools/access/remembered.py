"""What this machine has seen of a Gerrit: contents of commits, which never change, and who was called what."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from inventories.files import replace

Texts = tuple[str, str]
"""Of project.config and groups."""


class Remembered:
    """Kept in one file. One that is not readable is as good as none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            data = json.loads(path.read_text())
            self.commits: dict[str, Texts] = {key: (one, other) for key, (one, other) in data["commits"].items()}
            self.groups: dict[str, str] = {str(name): str(uuid) for name, uuid in data["groups"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.commits, self.groups = {}, {}

    def save(self, commits: Iterable[str], groups: Mapping[str, str]) -> None:
        """Keeps these commits, and the UUIDs of groups by name over those that were known."""
        kept = {commit: self.commits[commit] for commit in commits if commit in self.commits}
        replace(self._path, json.dumps({"commits": kept, "groups": self.groups | dict(groups)}), mode=0o600)
