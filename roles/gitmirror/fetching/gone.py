"""Repositories that the source lists no more: kept and served for some days, then removed, and told of both times.

A source that suddenly lists far fewer is believed in nothing: then none is marked, and none is removed.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from roles.gitmirror.fetching.plan import Plan
from roles.gitmirror.fetching.repository import age_days, remove

GONE = "mainstay-gone"
"""In a repository: its time is when the source was first seen without it."""


@dataclass
class Gone:
    """news: what people are to know, which fails the run; waiting: since when, by name; problem: why nothing was
    done."""

    news: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def present(public: Path) -> list[str]:
    """Names of the repositories that are served."""
    found, folders = [], [public]
    for folder in folders:
        for one in folder.iterdir():
            if one.name.endswith(".git"):
                found.append(str(one.relative_to(public)).removesuffix(".git"))
            elif one.is_dir() and not one.is_symlink():
                folders.append(one)
    return sorted(found)


def follow(plan: Plan, here: Collection[str], wanted: Collection[str]) -> Gone:
    """Marks, unmarks and removes. wanted: what the source lists and the settings choose."""
    told = Gone()
    missing = [name for name in here if name not in wanted]
    fresh = [name for name in missing if not _mark(plan, name).exists()]
    if len(fresh) > max(1, len(here) * plan.gone_percent // 100):
        told.problem = (
            f"{len(fresh)} of {len(here)} repositories are gone from the source at once: none is taken for gone, and "
            f"none removed. If it is meant to be so, raise gone_percent (now {plan.gone_percent}) for one run"
        )
    for name in here:
        mark = _mark(plan, name)
        if name in wanted:
            mark.unlink(missing_ok=True)
        elif not told.problem:
            _wait(plan, name, mark, told)
        elif mark.exists():
            told.waiting[name] = _since(mark)
    return told


def _wait(plan: Plan, name: str, mark: Path, told: Gone) -> None:
    if not mark.exists():
        mark.touch()
        until = datetime.now(UTC) + timedelta(days=plan.gone_days)
        told.news.append(f"{name}: gone from the source; it stays here until {until:%Y-%m-%d}, and is removed then")
    if age_days(mark) < plan.gone_days:
        told.waiting[name] = _since(mark)
        return
    told.news.append(f"{name}: removed; it had been gone from the source since {_since(mark)}")
    place = mark.parent
    place.rename(plan.incoming / "removed.git")  # at once for readers, whatever follows
    remove(plan.incoming / "removed.git")
    for parent in place.relative_to(plan.public).parents:
        folder = plan.public / parent
        if folder == plan.public or any(folder.iterdir()):
            break
        folder.rmdir()


def _mark(plan: Plan, name: str) -> Path:
    return plan.public / f"{name}.git" / GONE


def _since(mark: Path) -> str:
    return datetime.fromtimestamp(mark.stat().st_mtime, UTC).strftime("%Y-%m-%d")
