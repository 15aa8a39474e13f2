"""What the program that upgrades Gerrit on its host (tree/usr/local/lib/mainstay/gerrit_upgrade.py) is called, and how
what it tells is read."""

from typing import Any

PROGRAM = "/usr/local/lib/mainstay/gerrit_upgrade.py"
TAKEN_BACK = ("starting", "done")
"""Steps of an upgrade that is in force, and can be taken back."""
State = dict[str, Any]


def unit(version: str) -> str:
    return f"mainstay-gerrit-upgrade@{version}.service"


def trouble(told: State, version: str) -> str:
    """Why that version is not in force; empty when it is."""
    if told["version"] == version and told.get("step") in TAKEN_BACK:
        return ""
    return f"{told.get('error') or 'it was broken off'}; {told['version']} runs"
