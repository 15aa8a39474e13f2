"""What was asked of the release servers, by day, country, device and kind: their counts, added up.

Each server's count_requests.py made them, and left out who is behind them.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from pydantic import Field, ValidationError

from backup.reach import Reach, Unreachable, answer, reach
from inventories.inventory import LoadedSite
from inventories.roles import roles_of
from inventories.typed import Typed

ROLE = "release"
TELL = "find /var/lib/mainstay -path '/var/lib/mainstay/requests/*.json' -exec cat {} +"
"""Nothing on a server that has counted nothing yet."""
ANSWER_S = 60


class Row(Typed):
    """Requests that are alike. begun: those for a file's first byte; bytes: of bodies."""

    day: str = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    country: str = Field(max_length=5)
    device: str = Field(pattern=r"^\w{1,32}$")
    kind: Literal["metadata", "full", "incremental", "factory", "other"]
    status: str = Field(max_length=5)
    requests: int
    begun: int
    bytes: int

    @property
    def key(self) -> tuple[str, ...]:
        return self.day, self.country, self.device, self.kind, self.status


class Counts(Typed):
    """A file of a server's. source: the log that it is of."""

    source: str = Field(alias="from")
    unreadable: int
    rows: tuple[Row, ...]


def added(rows: Iterable[Row]) -> list[Row]:
    """One row for each key, in their order."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if before := found.get(row.key):
            sums = {name: getattr(before, name) + getattr(row, name) for name in ("requests", "begun", "bytes")}
            row = row.model_copy(update=sums)
        found[row.key] = row
    return [found[key] for key in sorted(found)]


def requested(site: LoadedSite, since: str, missing: Callable[[str], None]) -> list[Row]:
    """The rows of all release servers, from a day on (YYYY-MM-DD). missing: told of a server that does not tell, and
    why."""
    rows: list[Row] = []
    with reach(site) as way:
        for name, host in site.fleet.hosts.items():
            if ROLE in roles_of(host):
                try:
                    rows += of_server(way, name)
                except Unreachable as error:
                    missing(str(error))
                except ValidationError as error:
                    missing(f"{name}: counts that are none: {error}")
    return added(row for row in rows if row.day >= since)


def of_server(way: Reach, name: str) -> list[Row]:
    """What a server has counted. Raises Unreachable, and ValidationError when it says something else."""
    said = answer(way.admin(name, f"sudo -n {TELL}"), name, ANSWER_S).stdout
    return [row for line in said.splitlines() for row in Counts.model_validate_json(line).rows]
