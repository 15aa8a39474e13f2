"""What drills made in their account at the provider, found by the marks on it, and its end.

Every drill has a site name of its own, which says until when it may live: `drill-261126-1403-x7k2-2611262003`. Whatever
is made for it bears that name, as things of any site bear theirs (cloud/actual.py): tag, label, description; its zone
is called by it. So what a drill that died has left is found without anything that it knew.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backup.drills import own_site
from backup.drills.report import Made
from cloud import provision
from cloud.client import SETTLE_S, Client, CloudError
from inventories.inventory import LoadedSite

NAME = re.compile(r"drill-(?P<id>\d{6}-\d{4}-[a-z0-9]{4})-(?P<until>\d{10})")
MOMENT = "%y%m%d%H%M"
GONE_S = 300
"""How long the provider may take to be rid of a host."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Thing:
    """Something of a drill that exists. site: the drill's own name; name: what it is called there."""

    kind: str
    id: str
    site: str
    name: str
    gb: int = 0

    @property
    def path(self) -> str:
        """Of its kind's family in the API."""
        family = {"host": "instances", "volume": "blocks", "network": "vpcs", "firewall": "firewalls"}
        return f"/{family.get(self.kind, 'domains')}/{self.id}"


def site_name(drill: str, expires: datetime) -> str:
    """What the drill's own site is called."""
    return f"drill-{drill}-{expires.astimezone(UTC).strftime(MOMENT)}"


def expires(site: str) -> datetime:
    """When what bears this name may be removed by anybody."""
    match = NAME.fullmatch(site)
    assert match, "only names that match are looked up"
    return datetime.strptime(match["until"], MOMENT).replace(tzinfo=UTC)


def drill_of(site: str) -> str:
    """The drill's id."""
    match = NAME.fullmatch(site)
    return match["id"] if match else ""


def look(api: Client, domain: str) -> list[Thing]:
    """All that drills have in the account; in an order in which it can go. domain: below which their zones lie.

    Raises CloudError.
    """
    found = []
    for item in api.list("/instances", "instances"):
        names = [_marked(tag) for tag in item.get("tags", ())]
        found += [Thing("host", item["id"], site, name) for site, name in names if site][:1]
    for item in api.list("/blocks", "blocks"):
        site, _, name = item.get("label", "").partition("/")
        if NAME.fullmatch(site):
            found.append(Thing("volume", item["id"], site, name, item["size_gb"]))
    for kind, path, key in (("network", "/vpcs", "vpcs"), ("firewall", "/firewalls", "firewall_groups")):
        for item in api.list(path, key):
            site, name = _marked(item.get("description", ""))
            if site:
                found.append(Thing(kind, item["id"], site, name))
    for item in api.list("/domains", "domains"):
        site = item["domain"].removesuffix(f".{domain}")
        if NAME.fullmatch(site):
            found.append(Thing("zone", item["domain"], site, item["domain"]))
    return found


def _marked(text: str) -> tuple[str, str]:
    """The drill's site and the thing's name, of a mark; empty for any other text."""
    ours, _, rest = text.partition(":")
    site, _, name = rest.partition(":")
    return (site, name) if ours == "mainstay" and NAME.fullmatch(site) else ("", "")


def client(site: LoadedSite, say: Say) -> Client:
    """The drills' account. Raises InputError when its key cannot be read here."""
    drills = own_site.declared(site)
    return provision.account(site, drills.api_url or site.fleet.provider.api_url, drills.api_key, say)


def destroy(site: LoadedSite, names: Iterable[str], say: Say, *, unsure: bool = False) -> tuple[list[Made], list[str]]:
    """Removes all that bears the names of these drills' own sites, and looks until it is gone.

    unsure: something may have been asked for that is not there yet, so that it looks for longer. Returns what there
    was, with when it was seen to be gone, and what was said against it. Raises InputError.
    """
    # That a volume cannot go while its host is going is no news: what does not go in the end is told.
    api, domain, wanted = client(site, lambda _: None), own_site.declared(site).domain, set(names)
    there: dict[str, Made] = {}
    problems: list[str] = []
    begun = time.monotonic()
    deadline, settled = begun + GONE_S, begun + (SETTLE_S if unsure else 0)
    while True:
        try:
            left = [thing for thing in look(api, domain) if thing.site in wanted]
        except CloudError as error:
            return list(there.values()), [*problems, *map(still, _unseen(there)), f"what is left is not known: {error}"]
        now, ids = datetime.now(UTC), {thing.id for thing in left}
        for key, made in there.items():
            if made.gone is None and key not in ids:
                there[key] = made.model_copy(update={"gone": now})
                say(f"{made.kind} {made.name} is gone")
        for thing in left:
            there.setdefault(thing.id, made_of(thing))
        if not left and time.monotonic() >= settled:
            return list(there.values()), []
        if time.monotonic() > deadline:
            return list(there.values()), [*problems, *map(still, _unseen(there))]
        problems = _remove(api, left)
        time.sleep(0.3)


def still(made: Made) -> str:
    """Of something that could not be removed, in words."""
    return f"{made.kind} {made.name} ({made.id}) is still there"


def made_of(thing: Thing) -> Made:
    """For a report."""
    return Made(kind=thing.kind, name=thing.name, id=thing.id, site=thing.site, gb=thing.gb)  # type: ignore[arg-type]


def _unseen(there: Mapping[str, Made]) -> list[Made]:
    """What was not seen to be gone."""
    return [made for made in there.values() if made.gone is None]


def _remove(api: Client, left: Sequence[Thing]) -> list[str]:
    """Asks for the end of all that can go now: a firewall or network that is in use goes when its hosts have gone."""
    hosts = any(thing.kind == "host" for thing in left)
    problems = []
    for thing in [thing for thing in left if thing.kind in ("host", "zone")] if hosts else left:
        try:
            api.remove(thing.path)
        except CloudError as error:
            problems.append(str(error))
    return problems
