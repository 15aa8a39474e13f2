"""What of a role is saved, how, and how long it is kept: the constant RECOVERY of its recovery.py."""

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from backup.drills.checks import Drill
from inventories.typed import Typed

PERIOD_HOURS = {"half-hourly": 0.5, "hourly": 1, "daily": 24}


def _below(value: str) -> str:
    path = PurePosixPath(value)
    if not value or path.is_absolute() or str(path) != value or ".." in path.parts:
        raise ValueError(f"must be a plain path below root, not {value!r}")
    return value


Below = Annotated[str, AfterValidator(_below)]
Words = Annotated[tuple[str, ...], Field(min_length=1)]


class Keep(Typed):
    """How many snapshots are kept, whatever the clock says: the last ones, and one a day, week and month."""

    last: int = Field(default=24, ge=1)
    daily: int = Field(default=14, ge=0)
    weekly: int = Field(default=8, ge=0)
    monthly: int = Field(default=12, ge=0)


class Recovery(Typed):
    """What a backup plan and a drill need to know of a role; one without data says `Recovery(consistency="none")`."""

    root: str = ""
    """One folder that all of it lies below, absolute: `/srv/release`."""
    owner: str = Field(default="", pattern=r"^([a-z][a-z0-9_-]*)?$")
    """The user that all of it belongs to but for what is root's: restored it is given to that user by name, as another
    host has other numbers. Empty: the numbers stay as they were."""
    paths: tuple[Below, ...] = Field(default=(".",), min_length=1)
    """Below root; "." is all of it."""
    exclude: tuple[str, ...] = ()
    """restic's patterns of what can be made again: with a leading slash from root on, else anywhere below it."""
    consistency: Literal["none", "files", "btrfs", "refs", "command"]
    """none: there is nothing to save. files: each file is consistent by itself. btrfs: all of one instant, by a
    snapshot. refs: git repositories where no snapshot can be taken. command: what a command prints."""
    repositories: tuple[Below, ...] = ()
    """For `btrfs`: folders below root with git repositories, a manifest of whose refs is saved with the snapshot."""
    command: tuple[str, ...] = ()
    """For `command`: a program and its arguments; its output is saved as PLAN.out."""
    before: tuple[Words, ...] = ()
    """Commands run before it."""
    after: tuple[Words, ...] = ()
    """Commands run after it, whatever happened."""
    halts: tuple[str, ...] = ()
    """Units that may not run while what was restored takes the place of their data; the next deploy starts them."""
    remade: tuple[Below, ...] = ()
    """Below root, and not saved: made anew from the data, so that what there is of it goes when that is restored."""
    every: Literal["half-hourly", "hourly", "daily"] = "daily"
    """How often a backup starts."""
    rpo_hours: int = Field(default=30, ge=1, le=24 * 366)
    """How old the newest good one may be."""
    keep: Keep = Keep()
    drill: Drill | None = None
    """How it is proved that a restored one works."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.consistency == "none") != (not self.root):
            raise ValueError("root and consistency must both say that there is data, or both that there is none")
        if self.root and (not self.root.startswith("/") or _below(self.root[1:]) == "."):
            raise ValueError(f"root must be an absolute folder, not {self.root!r}")
        if (self.consistency == "command") != bool(self.command):
            raise ValueError("command goes with the consistency 'command', and only with it")
        if self.repositories and self.consistency != "btrfs":
            raise ValueError("repositories go with the consistency 'btrfs', and only with it")
        if self.rpo_hours <= PERIOD_HOURS[self.every]:
            raise ValueError(f"a backup that starts {self.every} cannot promise {self.rpo_hours} h: a run takes time")
        return self
