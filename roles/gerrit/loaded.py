"""The look whether Gerrit has loaded the plugins that are declared: one that fails to load it only logs."""

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host

from roles.common.facts import LOOKED, Look
from roles.common.operations import Refuse

PROGRAM = "/usr/local/lib/mainstay/loaded_by_gerrit.py"


class Loaded(Look):
    """What differs between the plugins that are declared and those that are loaded; no line if nothing does."""

    kind = "services"

    def command(self, url: str, account: str) -> str:
        return f"echo {LOOKED}; python3 -I {PROGRAM} {url} {account} 2>&1"


def loaded(name: str, url: str, account: str) -> OperationMeta:
    """Fails where a declared plugin is not loaded in its declared version, or another one is. One remote command."""
    made: OperationMeta = _loaded(url=url, account=account, name=name)
    return made


@operation()
def _loaded(url: str, account: str) -> Generator[PyinfraCommand, None, None]:
    differing = host.get_fact(Loaded, url=url, account=account)
    if differing:
        yield Refuse(differing)
