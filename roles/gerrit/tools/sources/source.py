"""A manifest that clients sync by, as settings declare it."""

from typing import Annotated

from pydantic import AfterValidator, Field

from inventories.typed import Typed
from roles.gerrit.tools.sources import names
from roles.gerrit.tools.sources.elements import groups_of


def _web(url: str) -> str:
    url = url.rstrip("/")
    if why := names.address(url):
        raise ValueError(f"{url!r} {why}")
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url!r}: only http and https are asked")
    return url


def _branch(text: str) -> str:
    if text and (why := names.revision(text)):
        raise ValueError(f"{text!r} {why}")
    return text


def _file(text: str) -> str:
    if why := names.local_path(text):
        raise ValueError(f"{text!r} {why}")
    return text


def _groups(text: str) -> str:
    if not groups_of(text):
        raise ValueError("names no group; all is every one")
    return text


WebUrl = Annotated[str, AfterValidator(_web)]


class Source(Typed):
    """What clients give `repo init`, and where they get the sources."""

    manifest: WebUrl
    """What they give `repo init -u`."""
    branch: Annotated[str, AfterValidator(_branch)] = ""
    """`-b`; by default the server's own."""
    file: Annotated[str, AfterValidator(_file)] = "default.xml"
    """`-m`."""
    groups: Annotated[str, AfterValidator(_groups)] = "all"
    """`-g`: only these are audited."""
    remotes: tuple[str, ...] = ()
    """Of the manifest: these are audited; by default those on the manifest's own host."""
    mirror: WebUrl | None = None
    """The folder of the mirror that clients sync from, which has to agree."""
    patience_minutes: int = Field(default=10, ge=0, le=120)
    """So long the control host waits for a server that does not answer, and for a mirror that is behind."""

    @property
    def name(self) -> str:
        """What people are told it is."""
        more = " ".join(filter(None, (self.branch, self.file if self.file != "default.xml" else "")))
        return f"{self.manifest} {more}".rstrip()


def distinct(found: tuple[Source, ...]) -> tuple[Source, ...]:
    """Raises ValueError where two would go by one name."""
    known = [one.name for one in found]
    if twice := [one for one in known if known.count(one) > 1]:
        raise ValueError(f"{twice[0]} is there twice")
    return found


Sources = Annotated[tuple[Source, ...], AfterValidator(distinct)]
