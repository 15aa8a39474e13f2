"""What web servers serve, as `mainstay web status` finds it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backup.reach import reach
from inventories.inventory import LoadedSite
from roles.common.publishing.hearing import Nobody
from roles.web.tools import site as servers
from roles.web.tools.publish import begun, in_maintenance, status
from status.told import Finding, Row, Seen, Severity, Source, Table, state, unseen, warning

DIFFER = 51
"""The exit code of `mainstay web status`."""
LABELS = ("server", "serves", "releases", "state")


def applies(site: LoadedSite) -> bool:
    """Whether the site has web servers."""
    return bool(site.fleet.with_role(servers.ROLE))


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError."""
    with reach(site) as way:
        return together(status(servers.run(way, Nobody())))


def together(whole: Mapping[str, Mapping[str, Any]]) -> Seen:
    """whole: what each server told, or what is `wrong` with it."""
    served = {one["served"] for one in whole.values() if "wrong" not in one}
    findings, rows = [], []
    for name, one in whole.items():
        found = _findings(name, one)
        if "wrong" in one:
            rows.append(Row(name, [("-", ""), ("-", ""), state(found)], {"seen": False}))
        else:
            cells = [(one["served"] or "nothing", ""), (str(len(one["releases"])), ""), state(found)]
            data = {"seen": True, "served": one["served"], "releases": [each["id"] for each in one["releases"]]}
            data["maintenance"] = one["maintenance"]
            rows.append(Row(name, cells, data))
        findings += found
    if len(served) > 1:
        what = f"web servers serve {' and '.join(sorted(each or 'nothing' for each in served))}"
        to_do = "`mainstay web status`; publish again what was begun, or something else."
        findings.append(Finding("web servers", "differ", Severity.CRITICAL, what, to_do, DIFFER))
    return Seen(findings, [Table("web_servers", "Web servers", LABELS, rows)])


def _findings(name: str, one: Mapping[str, Any]) -> list[Finding]:
    if "wrong" in one:
        return [unseen(name, f"it does not answer: {one['wrong']}", "`mainstay web status`, `mainstay doctor`.")]
    to_do = "Run again what was begun, or publish something else: `mainstay runbook show publish-the-website`."
    found = [warning(name, "begun", line, to_do) for line in begun({name: one})]
    over = "When it is over: `mainstay runbook show website-maintenance`."
    return found + [warning(name, "maintenance", line, over) for line in in_maintenance({name: one})]


SOURCE = Source("website", "Website", "mainstay web status", applies, look)
