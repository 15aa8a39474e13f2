"""Who has left, and what of what they knew is in use still, as `mainstay admin list` tells it."""

from datetime import UTC, datetime, time

from backup.audited import listed
from backup.renewal import rotate_words
from backup.rules import ago
from backup.sizes import counted
from inventories import departed
from inventories.inventory import LoadedSite
from status.told import Row, Seen, Source, Table, state, warning

LABELS = ("who left", "on", "still knows", "nothing since", "state")


def applies(site: LoadedSite) -> bool:
    """Whether anybody has left."""
    return (site.files / departed.FILE).exists()


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError."""
    return together(departed.read(site.files), rotate_words(site), now)


def together(people: departed.People, rotate: str, now: datetime) -> Seen:
    """rotate: the command that renews what they know."""
    findings, rows = [], []
    for name, one in sorted(people.items()):
        found = []
        if one.knows:
            since = ago(datetime.combine(one.left, time(), UTC), now)
            what = f"left {since}, and still knows {counted(len(one.knows), 'secret')}: {listed(one.knows)}"
            found.append(warning(name, "still knows", what, f"`{rotate}`; `mainstay runbook show admin-leaves`."))
        over = None if one.knows else max(one.replaced.values(), default=one.left)
        cells = [(str(one.left), ""), (str(len(one.knows) or "nothing"), ""), (str(over or "-"), ""), state(found)]
        data = {"left": str(one.left), "knows": list(one.knows), "nothing_since": str(over) if over else None}
        rows.append(Row(name, cells, data))
        findings += found
    return Seen(findings, [Table("departed", "Who has left", LABELS, rows)])


SOURCE = Source("people", "People", "mainstay admin list", applies, look)
