"""What phones are offered, and what release servers serve, as `mainstay release status` finds it."""

from dataclasses import asdict
from datetime import datetime

from backup.reach import reach
from backup.sizes import size
from inventories.inventory import LoadedSite
from roles.release.tools.places import ROLE, opened
from roles.release.tools.standing import Standing, Whole, builds, standing, words
from status.told import Finding, Row, Seen, Source, Table, critical, state, unseen, warning

SERVERS = ("server", "commit", "free", "state")
OFFERS = ("device", "build and channels")
LOOK = "`mainstay release status`, `mainstay doctor`"


def applies(site: LoadedSite) -> bool:
    """Whether the site has release servers."""
    return bool(site.fleet.with_role(ROLE))


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError, RepositoryError."""
    with reach(site) as way:
        where = opened(way)
        return together(standing(where.places, where.metadata))


def together(whole: Whole) -> Seen:
    """Findings, a row a server, and one a device."""
    findings, rows = [], []
    for one in whole.servers:
        found = _findings(one)
        cells = [(one.commit[:10] or "-", ""), (size(one.free) if not one.wrong else "-", ""), state(found)]
        rows.append(Row(one.name, cells, asdict(one) | {"current": one.current}))
        findings += found
    return Seen(findings, [Table("servers", "Release servers", SERVERS, rows), _offers(whole)])


def _findings(one: Standing) -> list[Finding]:
    if one.wrong:
        return [unseen(one.name, f"it does not answer: {one.wrong}", f"{LOOK}; a new one: `mainstay release sync`.")]
    found = []
    if not one.current:
        found.append(critical(one.name, "not the newest", words(one), "`mainstay release sync`."))
    if one.begun:
        to_do = "Whoever it was runs the same command again; or `mainstay release abandon`."
        found.append(warning(one.name, "begun", words(one), to_do))
    return found


def _offers(whole: Whole) -> Table:
    rows = []
    for device in sorted({device for device, _ in whole.offers}):
        held = builds(whole, device)
        shown = "; ".join(f"{build}: {', '.join(channels)}" for build, channels in held)
        data = [{"build": build, "channels": channels} for build, channels in held]
        rows.append(Row(device, [(shown, "")], {"builds": data}))
    return Table("devices", "Releases", OFFERS, rows)


SOURCE = Source("releases", "Releases", "mainstay release status", applies, look)
