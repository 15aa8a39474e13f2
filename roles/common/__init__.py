"""What roles are built from: four operations, and the types that say what a role opens and listens on."""

from typing import TYPE_CHECKING, Any

from roles.common.account_plan import Account
from roles.common.ports import Listen, Opening
from roles.common.service_plan import Unit

if TYPE_CHECKING:
    from roles.common.operations import accounts, packages, services, tree

__all__ = ["Account", "Listen", "Opening", "Unit", "accounts", "packages", "services", "tree"]


def __getattr__(name: str) -> Any:
    """The operations, when a deploy asks: they bring all of pyinfra, of which who only reads settings has no need."""
    if name not in __all__:
        raise AttributeError(name)
    from roles.common import operations

    return getattr(operations, name)
