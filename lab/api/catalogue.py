"""What the provider sells, as far as the lab plays it: regions, plans, operating systems.

Sizes, prices and ids are the provider's; the lists are a selection. The lab boots Debian 13 and its own snapshots only.

A plan with CPUs of its own (`voc-`, "optimized cloud compute") is a virtual machine in the lab, any other a container:
it is the nearest thing the provider sells to a machine for oneself, which a host needs whose kernel matters, and it is
dear enough that nobody chooses it for another. A plan is what an inventory declares anyway, for the provider too.
"""

import re
from typing import Literal

from lab.api.store import Item
from lab.api.wire import ApiError, Call, Reply, Routes, numbered, page

DEBIAN_13 = 2625
SNAPSHOT_OS = 164

_OPTIONS = ["ddos_protection", "block_storage_high_perf", "block_storage_storage_opt", "kubernetes", "load_balancers"]


def _region(region: str, city: str, country: str, continent: str) -> Item:
    return {"id": region, "city": city, "country": country, "continent": continent, "options": _OPTIONS}


REGIONS = [
    _region("ams", "Amsterdam", "NL", "Europe"),
    _region("atl", "Atlanta", "US", "North America"),
    _region("cdg", "Paris", "FR", "Europe"),
    _region("ewr", "New Jersey", "US", "North America"),
    _region("fra", "Frankfurt", "DE", "Europe"),
    _region("lhr", "London", "GB", "Europe"),
    _region("nrt", "Tokyo", "JP", "Asia"),
    _region("ord", "Chicago", "US", "North America"),
    _region("sea", "Seattle", "US", "North America"),
    _region("sgp", "Singapore", "SG", "Asia"),
    _region("sjc", "Silicon Valley", "US", "North America"),
    _region("sto", "Stockholm", "SE", "Europe"),
]
VM_FAMILY = "voc"
_EVERYWHERE = [region["id"] for region in REGIONS]


def _plan(plan: str, ram: int, disk: int, bandwidth: int, price: float, locations: list[str] = _EVERYWHERE) -> Item:
    family, *words = plan.split("-")
    cpus = next(word for word in words if re.fullmatch(r"\d+c", word))
    return {
        "id": plan,
        "name": plan,
        "vcpu_count": int(cpus.removesuffix("c")),
        "ram": ram,
        "disk": disk,
        "disk_count": 1,
        "bandwidth": bandwidth,
        "monthly_cost": float(price),
        "hourly_cost": round(price / 672, 4),
        "type": family,
        "locations": locations,
    }


PLANS = [
    _plan("vc2-1c-1gb", 1024, 25, 1024, 5),
    _plan("vc2-1c-2gb", 2048, 55, 2048, 10),
    _plan("vc2-2c-2gb", 2048, 65, 3072, 15),
    _plan("vc2-2c-4gb", 4096, 80, 3072, 20),
    _plan("vc2-4c-8gb", 8192, 160, 4096, 40),
    _plan("vc2-6c-16gb", 16384, 320, 5120, 80),
    _plan("vc2-8c-32gb", 32768, 640, 6144, 160),
    _plan("vhf-1c-1gb", 1024, 32, 1024, 6),
    _plan("vhf-1c-2gb", 2048, 64, 2048, 12),
    _plan("vhf-2c-4gb", 4096, 128, 3072, 24),
    _plan("vhp-1c-1gb-amd", 1024, 25, 2048, 6, ["ams", "ewr", "fra", "lhr", "ord", "sea", "sgp", "sjc"]),
    _plan("vhp-1c-2gb-amd", 2048, 50, 3072, 12, ["ams", "ewr", "fra", "lhr", "ord", "sea", "sgp", "sjc"]),
    _plan("vhp-2c-4gb-amd", 4096, 100, 6144, 24, ["ams", "ewr", "fra", "lhr", "ord", "sea", "sgp", "sjc"]),
    _plan("vhp-4c-8gb-amd", 8192, 180, 6144, 48, ["ams", "ewr", "fra", "lhr", "ord", "sea", "sgp", "sjc"]),
    _plan("voc-c-1c-2gb-25s-amd", 2048, 25, 4096, 28),
    _plan("voc-c-2c-4gb-50s-amd", 4096, 50, 5120, 40),
]

SYSTEMS: list[Item] = [
    {"id": 159, "name": "Custom", "arch": "x64", "family": "iso"},
    {"id": SNAPSHOT_OS, "name": "Snapshot", "arch": "x64", "family": "snapshot"},
    {"id": 180, "name": "Backup", "arch": "x64", "family": "backup"},
    {"id": 477, "name": "Debian 11 x64 (bullseye)", "arch": "x64", "family": "debian"},
    {"id": 1743, "name": "Ubuntu 22.04 LTS x64", "arch": "x64", "family": "ubuntu"},
    {"id": 2136, "name": "Debian 12 x64 (bookworm)", "arch": "x64", "family": "debian"},
    {"id": 2284, "name": "Ubuntu 24.04 LTS x64", "arch": "x64", "family": "ubuntu"},
    {"id": DEBIAN_13, "name": "Debian 13 x64 (trixie)", "arch": "x64", "family": "debian"},
]


def region(region_id: str) -> Item:
    """Raises ApiError when there is none."""
    for item in REGIONS:
        if item["id"] == region_id:
            return item
    raise ApiError(400, "Invalid region chosen.")


def plan(plan_id: str, region_id: str) -> Item:
    """The plan, sold in that region. Raises ApiError."""
    for item in PLANS:
        if item["id"] == plan_id:
            if region_id not in item["locations"]:
                raise ApiError(400, "Plan is not available in the selected region.")
            return item
    raise ApiError(400, "Invalid plan chosen.")


def kind(plan: Item) -> Literal["container", "vm"]:
    """What a host of a plan is in the lab; see `lab.engine.Machine.kind`."""
    return "vm" if plan["type"] == VM_FAMILY else "container"


def system(os_id: int) -> Item:
    """An operating system the lab can boot. Raises ApiError."""
    for item in SYSTEMS:
        if item["id"] == os_id:
            if os_id != DEBIAN_13:
                raise ApiError(
                    400, f"Invalid OS chosen: this cloud has an image of Debian 13 only, not {item['name']}."
                )
            return item
    raise ApiError(400, "Invalid OS chosen.")


def _account(call: Call) -> Reply:
    account = {
        "name": f"lab {call.cloud.engine.config.name} {call.cloud.account}",
        "email": f"{call.cloud.account}@mainstay.invalid",
        "acls": [*call.cloud.acls],
        "balance": -100.0,
        "pending_charges": 0.0,
        "last_payment_date": "2026-01-01T00:00:00+00:00",
        "last_payment_amount": -100.0,
    }
    return Reply(200, {"account": account})


def _plans(call: Call) -> Reply:
    kind = call.query.get("type", "all")
    return page(call, "plans", numbered([item for item in PLANS if kind in ("all", item["type"])]))


def _availability(call: Call) -> Reply:
    if call.path["id"] not in _EVERYWHERE:
        raise ApiError(404, "Invalid region.")
    kind = call.query.get("type", "all")
    found = [p["id"] for p in PLANS if call.path["id"] in p["locations"] and kind in ("all", p["type"])]
    return Reply(200, {"available_plans": found})


ROUTES: Routes = (
    ("GET", "/account", _account),
    ("GET", "/regions", lambda call: page(call, "regions", numbered(REGIONS))),
    ("GET", "/regions/{id}/availability", _availability),
    ("GET", "/plans", _plans),
    ("GET", "/os", lambda call: page(call, "os", numbered(SYSTEMS))),
)
