"""What the fetching program is told, as JSON: roles/gitmirror/settings.py says what each means and checks it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Plan:
    """source: without a slash at its end; folder: has `public`, which is served, and `incoming`; authority: file of the
    certificates that the source is believed by, "" the host's own."""

    source: str
    folder: str
    state: str
    metrics: str
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    refs: tuple[str, ...] = ("refs/heads/", "refs/tags/")
    parallel: int = 4
    fetch_minutes: float = 60
    gone_days: float = 14
    gone_percent: int = 10
    kept_days: float = 30
    authority: str = ""

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Raises OSError, ValueError, TypeError for what is no such file."""
        told: dict[str, Any] = json.loads(path.read_text())
        lists: dict[str, Any] = {key: tuple(value) for key, value in told.items() if isinstance(value, list)}
        return cls(**told | lists)

    @property
    def public(self) -> Path:
        """The repositories, NAME.git each."""
        return Path(self.folder) / "public"

    @property
    def incoming(self) -> Path:
        """What is not whole yet, and what is on its way out: nobody is served from here."""
        return Path(self.folder) / "incoming"
