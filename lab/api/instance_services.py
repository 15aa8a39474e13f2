"""What comes with an instance: backup schedule, upgrades, and what this cloud has none of (traffic counts, ISOs)."""

from datetime import UTC, datetime, timedelta

from lab.api import catalogue
from lab.api.wire import ApiError, Call, Reply, Routes


def _schedule(call: Call) -> Reply:
    item = call.cloud.instance(call.path["id"])
    hour = item["_backup_schedule"]["hour"]
    next_run = datetime.now(UTC).replace(hour=hour, minute=0, second=0) + timedelta(days=1)
    enabled = item["_backups"] == "enabled"
    schedule = {
        **item["_backup_schedule"],
        "enabled": enabled,
        "next_scheduled_time_utc": f"{next_run:%Y-%m-%d %H:%M:%S}" if enabled else "",
    }
    return Reply(200, {"backup_schedule": schedule})


def _set_schedule(call: Call) -> Reply:
    kind = call.text("type")
    if kind not in ("daily", "weekly", "monthly", "daily_alt_even", "daily_alt_odd"):
        raise ApiError(400, "Invalid backup schedule type.")
    hour, dow, dom = call.integer("hour", 0), call.integer("dow", 1), call.integer("dom", 1)
    if not (0 <= hour <= 23 and 1 <= dow <= 7 and 1 <= dom <= 28):
        raise ApiError(400, "Invalid backup schedule.")
    schedule = {"type": kind, "hour": hour, "dow": dow, "dom": dom}
    with call.cloud.store.change():
        item = call.cloud.instance(call.path["id"])
        if item["_backups"] != "enabled":
            raise ApiError(400, "Backups are not enabled for this server.")
        call.cloud.store.put("instance", item | {"_backup_schedule": schedule})
    return _schedule(call)


def _neighbors(call: Call) -> Reply:
    call.cloud.instance(call.path["id"])
    return Reply(200, {"neighbors": []})


def _bandwidth(call: Call) -> Reply:
    call.cloud.instance(call.path["id"])
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return Reply(200, {"bandwidth": {today: {"incoming_bytes": 0, "outgoing_bytes": 0}}})


def _upgrades(call: Call) -> Reply:
    item = call.cloud.instance(call.path["id"])
    plans = [
        plan["id"]
        for plan in catalogue.PLANS
        if item["region"] in plan["locations"] and plan["disk"] >= item["disk"] and plan["id"] != item["plan"]
    ]
    systems = [system for system in catalogue.SYSTEMS if system["id"] == catalogue.DEBIAN_13]
    return Reply(200, {"upgrades": {"applications": [], "os": systems, "plans": plans}})


def _iso(call: Call) -> Reply:
    call.cloud.instance(call.path["id"])
    return Reply(200, {"iso_status": {"state": "ready", "iso_id": ""}})


ROUTES: Routes = (
    ("GET", "/instances/{id}/backup-schedule", _schedule),
    ("POST", "/instances/{id}/backup-schedule", _set_schedule),
    ("GET", "/instances/{id}/neighbors", _neighbors),
    ("GET", "/instances/{id}/bandwidth", _bandwidth),
    ("GET", "/instances/{id}/upgrades", _upgrades),
    ("GET", "/instances/{id}/iso", _iso),
)
