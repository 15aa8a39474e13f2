"""What can be set for the website, in `[settings.web]` or a host's own `settings.web`."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from roles.common import nginx

OPENINGS = nginx.OPENINGS
LISTENS = nginx.LISTENS
PUBLISHER = "web"
"""The account that owns what is published: publishers may act as it (inventories/admins.py)."""
OLD_PATH = re.compile(r"/([\w.~+-]+/)*([\w.~+-]+)?")


def _old_path(value: str) -> str:
    """nginx compares decoded paths whose slashes are single and whose dots are resolved."""
    if not OLD_PATH.fullmatch(value) or {".", ".."} & set(value.split("/")):
        raise ValueError("must be a path like /old/page: not encoded, without //, . and ..")
    return value


OldPath = Annotated[str, AfterValidator(_old_path), Field(max_length=200)]
NewPlace = Annotated[str, Field(pattern=r"^(/([\w.~%+?=&#-][\w./~%+?=&#-]*)?|https://[a-z0-9.-]+(/[\w./~%+?=&#-]*)?)$")]


class Settings(nginx.HttpSettings):
    """The website."""

    redirects: dict[OldPath, NewPlace] = {}
    """Old path -> new path or https address, answered with 301, whatever the case of the old path."""
    page_seconds: int = Field(default=300, ge=0)
    """How long pages may be cached."""
    asset_seconds: int = Field(default=86_400, ge=0)
    """How long styles, scripts, fonts and images may be cached; their names do not change with their content."""
    content_security_policy: str = Field(
        default="default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'",
        pattern=r"^[\w '*:;./=+-]+$",
    )
    permissions_policy: str = Field(
        default="camera=(), geolocation=(), microphone=(), payment=(), usb=()", pattern=r"^[\w (),*=-]+$"
    )
    """What pages may not use, as a browser gets it."""
    maintenance: bool = False
    """Visitors get one page, with status 503, in the place of all others. Publishing goes on."""
    maintenance_text: str = Field(
        default="This website is being worked on, and will be back soon. Devices go on getting their updates.",
        max_length=2000,
        pattern=r"\S",
    )
    """What that page says, without markup; an empty line begins a paragraph."""
    releases_kept: int = Field(default=5, ge=2, le=100)
    """Publications that stay on each server, to go back to."""

    @model_validator(mode="after")
    def _redirects_end(self) -> Self:
        places = self.places()
        for old, new in self.redirects.items():
            if new.lower() in places:
                raise ValueError(f"redirects.{old}: leads to {new}, which redirects again: name its last place")
        return self

    def places(self) -> dict[str, str]:
        """Every path that redirects, in lower case: a page is asked for with and without a slash at its end."""
        found: dict[str, str] = {}
        for old, new in self.redirects.items():
            page = old.lower().rstrip("/")
            is_file = "." in page.rpartition("/")[2]
            for path in (page,) if is_file else tuple(filter(None, (page, f"{page}/"))):
                if path in found:
                    raise ValueError(f"redirects.{old}: {path} redirects twice")
                found[path] = new
        return found
