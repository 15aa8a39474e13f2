"""Sites whose hosts no network leads to: each is deployed by pyinfra on itself, at its own console, from a bundle.

What a deploy otherwise needs besides the host is left out here: no lock file, as no provider made it; no key to log in
with; no other host. Secrets are decrypted by the key that $MAINSTAY_IDENTITY names.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inventories import command_line
from inventories.errors import InputError
from inventories.lock import LockedHost

if TYPE_CHECKING:
    from inventories.inventory import LoadedSite

VARIABLE = "MAINSTAY_LOCAL_HOST"
"""Names the host that this machine is; a bundle's `apply` sets it, so that no laptop is deployed by mistake."""
EVERY = {"base", "site"}
"""Deploys of whatever role."""


def groups(site: "LoadedSite", words: Sequence[str]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """What an inventory exports to pyinfra on such a host. words: pyinfra's command line. Raises InputError."""
    name = os.environ.get(VARIABLE, "")
    host = site.fleet.hosts.get(name)
    if host is None:
        problem = f"has no host {name!r}" if name else "no network leads to its hosts"
        hint = "they are deployed at their own console: `mainstay bundle make` here, and the bundle's ./apply there"
        raise InputError(site.path, "site.connection", problem, hint)
    if not command_line.deploys(words) <= {host.role, *EVERY}:
        hint = f"its deploy is deploys/{host.role}.py"
        raise InputError(site.path, f"hosts.{name}.role", f"is {host.role!r}", hint)
    command_line.check_choices(words, {host.role: ["@local"]})
    data = {
        "site": site,
        "host_name": name,
        "declared": host,
        "locked": LockedHost(instance_id="", ipv4=""),
        "settings": site.settings(name),
        "_sudo": False,
    }
    return {host.role: [("@local", data)]}
