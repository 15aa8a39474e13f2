"""What roles are built from: four operations, and the types that say what a role opens and listens on."""

from roles.common.account_plan import Account
from roles.common.operations import accounts, packages, services, tree
from roles.common.ports import Listen, Opening
from roles.common.service_plan import Unit

__all__ = ["Account", "Listen", "Opening", "Unit", "accounts", "packages", "services", "tree"]
