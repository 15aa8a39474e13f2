"""The one look at a host that each operation takes: plain shell, a few processes, however much is asked about.

Each prints LOOKED first, so that "nothing is there" and "could not look" differ. Lists go over standard input.
"""

import shlex
from collections.abc import Sequence
from typing import Any, ClassVar

from pyinfra.api.facts import FactBase

from roles.common import account_plan, package_plan, service_plan, tree_plan

LOOKED = "mainstay:looked"


class Look(FactBase[list[str] | None]):
    """Lines after LOOKED; None if the host could not be asked, which pyinfra has then already reported."""

    abstract = True
    kind: ClassVar[str]
    """What it looks at, for who tells what differs: files, packages, services..."""

    def process(self, output: list[str]) -> list[str] | None:
        return output[output.index(LOOKED) + 1 :] if LOOKED in output else None


class TreeLook(Look):
    """Kind, mode, owner and hash of the paths on stdin."""

    kind = "files"

    def command(self) -> str:
        return (
            f"echo {LOOKED}; tr '\\n' '\\0' | find -files0-from - -maxdepth 0 -printf '{tree_plan.LOOK}' "
            "-type f -exec sha256sum -- {} + 2>/dev/null; true"
        )


class TreeContents(Look):
    """Base64 of the files on stdin, a line each; an empty line for what cannot be read."""

    def command(self) -> str:
        return f'echo {LOOKED}; while IFS= read -r path; do base64 -w0 -- "$path" 2>/dev/null; echo; done'


class PackageLook(Look):
    """Status and version of packages, and whether an earlier run of dpkg was cut off."""

    kind = "packages"

    def command(self, names: Sequence[str]) -> str:
        return (
            f"echo {LOOKED}; dpkg-query -W -f {shlex.quote(package_plan.LOOK)} -- {shlex.join(names)} 2>/dev/null; "
            "for left in /var/lib/dpkg/updates/[0-9]*; do "
            f'[ -e "$left" ] && echo {package_plan.INTERRUPTED} && break; done; true'
        )


class ServiceLook(Look):
    """State of units, what they were last started with, their probes, and the files they should be started with."""

    kind = "services"

    def command(self, units: Sequence[str], patterns: Sequence[str], probes: Sequence[str]) -> str:
        names = shlex.join(units)
        probed = "".join(f"( {probe} ) </dev/null >/dev/null 2>&1; echo $?; " for probe in probes)
        return (
            f"echo {LOOKED}; systemctl show -p {','.join(service_plan.PROPERTIES)} -- {names}; echo; "
            f"for unit in {names}; do record=; "
            f'[ -r {service_plan.RECORDS}/"$unit" ] && read -r record < {service_plan.RECORDS}/"$unit"; '
            f'echo "$record"; done; {probed}echo; '
            f"find -L {' '.join(map(service_plan.unquoted, patterns))} -type d -printf '{service_plan.LOOK}' "
            f"-o -type f -printf '{service_plan.LOOK}' -exec sha256sum -- {{}} + 2>/dev/null; true"
        )


class AccountLook(Look):
    """The account files, and the authorized_keys files asked for."""

    kind = "users"

    def command(self, homes: Sequence[str]) -> str:
        keys = shlex.join(f"{home}/.ssh/authorized_keys" for home in homes)
        look = f"; find {keys} -maxdepth 0 -printf '{account_plan.LOOK}' 2>/dev/null; echo; grep -Hs '' -- {keys}"
        return f"echo {LOOKED}; cat /etc/passwd; echo; cat /etc/group; echo{look if homes else ''}; true"


def lines(names: Sequence[str]) -> dict[str, Any]:
    """A list as standard input of a fact."""
    return {"_stdin": "\n".join(names)}
