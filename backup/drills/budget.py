"""What a drill may cost, and how many hosts there may be: looked at before anything is made."""

from collections.abc import Callable

from backup.drills import account, own_site
from cloud.actual import Plan
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite

GB_MONTH_USD = {"high_perf": 0.10, "storage_opt": 0.025}
"""The provider's list prices of block storage; its API does not tell them."""
HOURS_A_MONTH = 672
"""What the provider divides a month's price by."""


def hourly_usd(site: LoadedSite, own: LoadedSite, say: Callable[[str], None]) -> float:
    """What the hosts and volumes of a drill's own site cost an hour.

    Raises InputError when they may cost more than a drill may, or there are too many hosts already; CloudError.
    """
    drills, api = own_site.declared(site), account.client(site, say)
    plans = {item["id"]: Plan.model_validate(item) for item in api.list("/plans", "plans")}
    for name, host in own.fleet.hosts.items():
        if host.plan not in plans:
            raise InputError(site.path, f"hosts.{name}.plan", f"no plan {host.plan!r} in the drills' account")
    price = usd(own.fleet, {name: plan.monthly_cost for name, plan in plans.items()})
    if price * drills.hours > drills.usd:
        problem = f"this drill may cost ${price * drills.hours:.2f}, and no more than ${drills.usd:.2f} is allowed"
        hint = f"it is counted for the {drills.hours} h that a drill may take"
        raise InputError(site.path, "drill.usd", problem, hint)
    there = [thing for thing in account.look(api, drills.domain) if thing.kind == "host"]
    if len(there) + len(own.fleet.hosts) > drills.hosts:
        names = ", ".join(sorted({account.drill_of(thing.site) for thing in there})) or "none"
        problem = f"no more than {drills.hosts} hosts of drills may exist, and there are {len(there)} (drills: {names})"
        raise InputError(site.path, "drill.hosts", problem, "wait for their end, or `mainstay drill sweep`")
    return price


def usd(fleet: Fleet, monthly: dict[str, float]) -> float:
    """What the hosts and volumes of a fleet cost an hour, by list prices. monthly: the prices of plans a month."""
    hosts = list(fleet.hosts.values())
    storage = [volume.size_gb * GB_MONTH_USD[volume.block_type] for host in hosts for volume in host.volumes.values()]
    return (sum(monthly[host.plan] for host in hosts) + sum(storage)) / HOURS_A_MONTH
