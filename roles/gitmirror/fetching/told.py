"""What a run did: as lines, as JSON for people and programs, and for the textfile collector of Prometheus."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

HELP = {
    "mainstay_gitmirror_run_time_seconds": "When the last run ended (Unix time).",
    "mainstay_gitmirror_complete_time_seconds": "When a run last ended with all that the source lists (0: never).",
    "mainstay_gitmirror_duration_seconds": "How long the last run took.",
    "mainstay_gitmirror_repositories": "How many repositories are served.",
    "mainstay_gitmirror_changed": "How many the last run changed.",
    "mainstay_gitmirror_failed": "How many the last run could not bring up to date.",
    "mainstay_gitmirror_gone": "How many are gone from the source, and will be removed.",
    "mainstay_gitmirror_problem": "1 when the last run did not believe the source, or did not reach it.",
}


@dataclass
class Run:
    """failed: why, by name, of what is not up to date; gone: since when, by name; problem: of the source as a whole."""

    source: str
    begun: float = field(default_factory=time.time)
    ended: float = 0
    complete: float = 0
    repositories: int = 0
    changed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def is_complete(self) -> bool:
        return not self.failed and not self.problem

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to be told anything."""
        return self.is_complete and not self.news

    def lines(self) -> list[str]:
        """What people are told last, the most important at the end."""
        summary = f"{self.repositories} repositories, {self.changed} changed, {len(self.failed)} failed"
        return [
            f"{summary}, {len(self.gone)} gone from the source; {self.ended - self.begun:.1f} s",
            *self.news,
            *(f"FAILED {name}: {why}" for name, why in sorted(self.failed.items())),
            *([f"FAILED: {self.problem}"] if self.problem else []),
        ]

    def save(self, status: Path, metrics: Path) -> None:
        """Both files whole or not at all."""
        _replace(status, json.dumps(asdict(self), indent=2) + "\n")
        _replace(metrics, self.metrics())

    def metrics(self) -> str:
        """In Prometheus' text format."""
        values = (
            *(self.ended, self.complete, self.ended - self.begun, self.repositories),
            *(self.changed, len(self.failed), len(self.gone), bool(self.problem)),
        )
        lines = []
        for (name, said), value in zip(HELP.items(), values, strict=True):
            lines += [f"# HELP {name} {said}", f"# TYPE {name} gauge", f"{name} {value:.15g}"]
        return "\n".join(lines) + "\n"


def last_complete(status: Path) -> float:
    """When a run before this one was complete; 0 where none was."""
    try:
        return float(json.loads(status.read_text())["complete"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def shown(text: object) -> str:
    """What comes from elsewhere, on one line that no terminal obeys."""
    return "".join(one if one.isprintable() else "?" for one in str(text))[:500]


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    fresh.rename(path)
