"""What can be set for the mirror, in `[settings.gitmirror]` or a host's own `settings.gitmirror`."""

from typing import Annotated

from pydantic import Field

from inventories.typed import Name
from roles.common import nginx

OPENINGS = nginx.OPENINGS
LISTENS = nginx.LISTENS
Source = Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(:\d{1,5})?(/[\w.-]+)*$")]
Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+~@=,./*?\[\]-]+$")]
Refs = Annotated[str, Field(pattern=r"^refs/(heads|tags|notes|changes)/$")]


class Settings(nginx.HttpSettings):
    """A mirror of a Gerrit's public repositories."""

    volume: Name = "repositories"
    """The host's volume that holds the repositories."""
    source: Source
    """The Gerrit, as everybody calls it: `https://review.example.org`. What it shows to anybody is mirrored."""
    minutes: int = Field(default=5, ge=1, le=1440)
    """From the end of a run to the next."""
    parallel: int = Field(default=4, ge=1, le=32)
    """Repositories that are asked for and fetched at once."""
    include: tuple[Pattern, ...] = ("*",)
    """Names of repositories, as patterns whose `*` also matches a slash."""
    exclude: tuple[Pattern, ...] = ("All-Projects", "All-Users")
    """Of these, what is not mirrored. Gerrit's own two hold no sources."""
    refs: tuple[Refs, ...] = Field(default=("refs/heads/", "refs/tags/"), min_length=1)
    """What of a repository is mirrored. `refs/changes/`, what people propose, grows with every change, and a client is
    told of it all unless it speaks git's protocol 2."""
    fetch_minutes: int = Field(default=60, ge=1, le=1440)
    """That one repository may take, the first time too."""
    gone_days: int = Field(default=14, ge=1, le=3650)
    """How long a repository that the source lists no more is kept, and served."""
    gone_percent: int = Field(default=10, ge=0, le=100)
    """Where more of them are gone at once (and more than one), the source is not believed: nothing is removed."""
    kept_days: int = Field(default=30, ge=1, le=3650)
    """How long the objects of a deleted or rewritten branch stay, for clients that ask for one by its id."""
    clones: int = Field(default=48, ge=1, le=512)
    """Requests that git answers at once; others wait for their turn. More than one address may hold, or one slow reader
    takes all. A big clone may take some 100 MB of memory."""
    connections_per_address: int = Field(default=32, ge=1, le=65535)
    """Requests at once of an IPv4 address: `repo sync` makes as many as it has jobs, and people share addresses."""
    connections_per_network: int = Field(default=16, ge=1, le=65535)
    """Requests at once of an IPv6 network of 64 bits."""
