"""What a user of an account may do: the provider's ACLs, and which of them a call needs."""

ACLS = (
    "abuse",
    "alerts",
    "billing",
    "dns",
    "firewall",
    "loadbalancer",
    "manage_users",
    "objstore",
    "provisioning",
    "subscriptions",
    "subscriptions_view",
    "support",
    "upgrade",
)
"""All there are, by the provider's description of `/users`. An account's own key has them all."""
_OPEN = ("account", "os", "plans", "regions")
_OF_FAMILY = {"domains": "dns", "firewalls": "firewall", "users": "manage_users"}


def needed(method: str, path: str) -> str:
    """The ACL that a call needs, "" if none. path: below /v2.

    The provider names the ACLs and does not say which call needs which: here it is the one that bears the name of what
    is touched, and of hosts and what hangs on them to look at, to make, or to change.
    """
    family, _, rest = path.strip("/").partition("/")
    if family in _OPEN:
        return ""
    if family in _OF_FAMILY:
        return _OF_FAMILY[family]
    if method == "GET":
        return "subscriptions_view"
    return "provisioning" if method == "POST" and not rest else "subscriptions"
