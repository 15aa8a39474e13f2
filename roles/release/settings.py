"""What can be set for the release server, in `[settings.release]` or a host's own `settings.release`."""

from typing import Annotated, Literal

from pydantic import Field

from inventories.typed import Name
from roles.common import nginx

OPENINGS = nginx.OPENINGS
LISTENS = nginx.LISTENS
PUBLISHER = "release"
"""The account that owns what is published: publishers may act as it (inventories/admins.py)."""
Device = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Repository = Annotated[str, Field(pattern=r"^[^\s-]\S*$")]
Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:\d{1,5})?$")]


class Settings(nginx.HttpSettings):
    """The release server."""

    retired: tuple[Device, ...] = ()
    """Devices that get no more releases: 410 on everything below ota/ and factory/, so that clients stop asking."""
    installer_origins: tuple[Origin, ...] = ()
    """Web installers that may read from here in a browser, as `https://install.example.org`."""
    metadata_seconds: int = Field(default=60, ge=0, le=3600)
    """How long anything but a zip may be cached; zips never change and may be kept for a year."""
    metadata: Repository | Literal[""] = ""
    """The git repository of what phones are offered, as admins fetch it and push to it: who publishes adds a commit.
    Without one nothing can be published from here."""
    metadata_mirror: Name | Literal[""] = "release-metadata"
    """The mirror of `[settings.control.mirrors]` with the same, by which the control host audits; "" where there is
    none, and then it does not."""
    checksums_push: Repository | Literal[""] = ""
    """The git repository of `checksums`, as admins fetch it and push to it; "" where publishing records none."""
    keep_builds: int = Field(default=4, ge=1, le=1000)
    """Builds of each device that `mainstay release prune` leaves, the last offered ones."""
    keep_days: int = Field(default=120, ge=30, le=36500)
    """Days that it leaves a build after the last channel ceased to offer it: phones may be in the middle of it."""
    checksums: Name | Literal[""] = "checksums"
    """The mirror of `[settings.control.mirrors]` with the checksum of every release, which drills hold packages
    against; "" where there is none, and then a drill judges packages by the checksum beside each alone."""
