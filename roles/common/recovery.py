"""What of a role is saved and how it is made consistent: the constant RECOVERY of its recovery.py."""

from typing import Literal, Self

from pydantic import Field, model_validator

from inventories.fleet import Typed


class Recovery(Typed):
    """What a backup plan and a drill need to know of a role; one without data says `Recovery(consistency="none")`."""

    paths: tuple[str, ...] = ()
    """Absolute paths on the host."""
    excludes: tuple[str, ...] = ()
    """Patterns below them that can be made again."""
    consistency: Literal["files", "btrfs-snapshot", "none"]
    """files: each file is consistent by itself; btrfs-snapshot: all of one instant; none: there is nothing to save."""
    rpo_hours: int = Field(default=24, ge=1)
    """Oldest that a restored copy may be."""
    checks: tuple[str, ...] = ()
    """Test functions of the role's suite that prove a restored one works."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.consistency == "none") != (not self.paths):
            raise ValueError("paths and consistency must both say that there is data, or both that there is none")
        if relative := [path for path in self.paths if not path.startswith("/")]:
            raise ValueError(f"paths must be absolute: {', '.join(relative)}")
        return self
