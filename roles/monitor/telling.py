"""Whom Alertmanager tells, and what this role's own program is told to do with it. Pure.

Alertmanager groups, deduplicates and repeats; mainstay-tell brings it to people as the control host does: by the host's
own mail and by the site's webhook, and to the service that is pinged while all is well.
"""

import json
from typing import Any

from inventories import monitoring
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.base import settings as base
from roles.monitor import rules
from roles.monitor.settings import LOOPBACK, TELL, Settings

CONFIG = "/etc/mainstay/monitor/tell.json"
CONTROLS_PING = "notify_ping"


def told(site: LoadedSite, mail: base.Mail | None) -> dict[str, str]:
    """Where to: site, mail, webhook, ping; what is not declared is empty. Raises InputError when the two hosts that
    watch would ping for each other."""
    found = {name: _secret(site, name) for name in (monitoring.WEBHOOK, monitoring.PING)}
    if found[monitoring.PING] and found[monitoring.PING] == _secret(site, CONTROLS_PING):
        hint = "make a check of its own there: one that both ping is content as long as either lives"
        problem = f"is the address of {CONTROLS_PING} too"
        raise InputError(site.secrets.path, monitoring.PING, problem, hint)
    return {
        "site": site.name,
        "mail": mail.admin if mail else "",
        "webhook": found[monitoring.WEBHOOK],
        "ping": found[monitoring.PING],
    }


def config(where: dict[str, str]) -> str:
    """mainstay-tell's."""
    return json.dumps(where, indent=2) + "\n"


def alertmanager(settings: Settings, where: dict[str, str]) -> str:
    """alertmanager.yml: JSON, which is YAML."""
    channels = [channel for channel in ("mail", "webhook") if where[channel]]
    receivers = [
        {"name": "shown"},
        {"name": "people", "webhook_configs": [_to(channel, resolved=True) for channel in channels]},
        {"name": "ping", "webhook_configs": [_to("ping", resolved=False)] if where["ping"] else []},
    ]
    watchdog: dict[str, Any] = {
        "receiver": "ping",
        "matchers": [f'alertname="{rules.WATCHDOG}"'],
        "group_wait": "0s",
        "group_interval": "1m",
        "repeat_interval": "1m",
    }
    shown = {"receiver": "shown", "matchers": [f'alertname=~"{"|".join(rules.SHOWN)}"']}
    return _json(
        {
            "route": {
                "receiver": "people",
                "group_by": ["alertname"],
                "group_wait": "15s",
                "group_interval": "1m",
                "repeat_interval": f"{settings.repeat_hours}h",
                "routes": [watchdog, shown],
            },
            "inhibit_rules": [
                _instead(rules.HOST_DOWN, f'alertname!~"{rules.HOST_DOWN}|{rules.WATCHDOG}"'),
                _instead("MainstayGerritDown", f'alertname="{rules.DOES_NOT_ANSWER}"'),
            ],
            "receivers": receivers,
        }
    )


def _secret(site: LoadedSite, name: str) -> str:
    return site.secrets[name].get_secret_value() if name in site.secrets else ""


def _instead(alert: str, of: str) -> dict[str, Any]:
    """What is told of a host in the place of what follows from it."""
    return {"source_matchers": [f'alertname="{alert}"'], "target_matchers": [of], "equal": ["instance"]}


def _to(channel: str, *, resolved: bool) -> dict[str, Any]:
    """Each is tried by itself, until it has taken what it was sent."""
    return {"url": f"http://{LOOPBACK}:{TELL}/{channel}", "send_resolved": resolved, "timeout": "70s"}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
