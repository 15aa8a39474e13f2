"""Debian's packages of a host brought up to date, a reboot where one is needed and asked for, and whether all is well.

A host that is not well before is not touched. Every service of a host's roles listens where they declare it, and no
unit failed: more of a role, and probes of its own, come by its deploy, which follows an upgrade.
"""

import json
import re
import time
from collections.abc import Collection, Sequence
from typing import Any

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.operation import operation
from pyinfra.context import host, inventory, state

from inventories import command_line
from inventories.errors import InputError
from inventories.roles import roles_of
from roles.base import firewall
from roles.base.deploying import put_away, take_up
from roles.base.settings import SSH_PORT, Settings
from roles.common.facts import LOOKED, Look
from roles.common.operations import Commands, Refuse
from roles.common.program import program

SWITCH, YES = "reboot", "yes"
WELL_S = 60
"""How long services may take to be back."""
REBOOT_S = 600
"""How long a host may take to take a new connection, and to have booted."""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
BOOTED = f"systemctl is-system-running --wait >/dev/null; {BOOT_ID}"

Socket = tuple[str, int]
"""Protocol and port."""


class WellLook(Look):
    """Units that failed, an empty line, and what listens."""

    def command(self) -> str:
        return f"echo {LOOKED}; systemctl --failed --plain --no-legend; echo; ss -H -tuln"


class UpgradeLook(Look):
    """What an upgrade would install, by lists of packages that are fetched for it: `NAME [OLD] (NEW ...)`."""

    def command(self) -> str:
        # Something else may be fetching them, which apt does not wait for.
        update = "apt-get -qq -o Acquire::Retries=3 -o APT::Update::Error-Mode=any update >&2"
        tries = f"for pause in 10 20 40 0; do {update} && break; [ $pause = 0 ] && exit 1; sleep $pause; done"
        simulated = "apt-get -s -o Debug::NoLocking=1 --with-new-pkgs upgrade"
        return f"{tries}; echo {LOOKED}; {simulated} | sed -n 's/^Inst //p'"


class RebootLook(Look):
    """The report of mainstay-stale, of now, on one line."""

    def command(self) -> str:
        report = "/var/lib/mainstay/stale-services.json"
        return f"systemctl start mainstay-stale.service && echo {LOOKED} && tr -d '\\n' < {report}"


def check(words: Sequence[str]) -> bool:
    """Whether hosts are to be rebooted, by pyinfra's command line. Raises InputError if all would go down at once."""
    given = command_line.data(words).get(SWITCH)
    if given not in (None, YES):
        raise InputError(f"--data {SWITCH}", "", f"cannot read {given!r}", f"it takes: {YES}")
    several = len(list(inventory.get_active_hosts())) > 1
    if several and "--serial" not in words and not command_line.dry(words):
        problem = "is missing: all hosts would be upgraded, and be down, at once"
        raise InputError("pyinfra", "--serial", problem, "add it, or name one host: --limit web-1")
    return given == YES


def listening() -> frozenset[Socket]:
    """Where the host's roles say that they listen."""
    settings: Settings = host.data.settings["base"]
    found = {(one.protocol, one.port) for one in firewall.listens_of(roles_of(host.data.declared))}
    return frozenset(found - ({("tcp", SSH_PORT)} if settings.offline else set()))


def ill(look: Sequence[str], wanted: Collection[Socket]) -> list[str]:
    """What is wrong with a host, from WellLook's lines. Pure."""
    failed, listens = look[: look.index("")], look[look.index("") + 1 :]
    found = {(words[0], int(words[4].rpartition(":")[2])) for words in map(str.split, listens) if words}
    problems = [f"unit failed: {line.split()[0]}" for line in failed]
    return problems + [f"nothing listens on {port}/{protocol}" for protocol, port in sorted(set(wanted) - found)]


def needs_reboot(report: str) -> list[str]:
    """Why a host is to be rebooted, from RebootLook's line. Pure."""
    said = json.loads(report)
    services = [one for one in said["services"] if re.fullmatch(r"(?!user@).*\.service|init\.scope", one)]
    return ["an upgrade asks for it"] * said["reboot_required"] + [f"{one} runs replaced code" for one in services]


@operation()
def well(wanted: frozenset[Socket], patience_s: float = WELL_S) -> Commands:
    """Fails on a host that is not well, once that has had its time."""
    deadline = time.monotonic() + patience_s
    while (look := host.get_fact(WellLook)) is not None:
        problems = ill(look, wanted)
        if not problems:
            return
        if not state.is_executing:
            for problem in problems:
                host.log(f"  {problem}")
        if not state.is_executing or time.monotonic() > deadline:
            yield Refuse(problems)
            return
        time.sleep(1)


@operation()
def upgraded() -> Commands:
    """All packages as new as Debian has them, none removed."""
    look = host.get_fact(UpgradeLook)
    for line in look or []:
        host.log(f"  {line}")
    if look:
        yield program("packages", {"packages": {}, "upgrade": True})


@operation()
def rebooted(asked: bool) -> Commands:
    """Reboots a host that needs it, if that was asked for; else says so."""
    look = host.get_fact(RebootLook)
    why = needs_reboot(look[0]) if look else []
    for reason in why:
        host.log(f"  needs a reboot: {reason}")
    if why and asked:
        yield Reboot()
    elif why:
        host.log(f"  it is not rebooted now: --data {SWITCH}={YES} does that")


class Reboot(PyinfraCommand):
    """Ends when the host has booted anew and this deploy has its lock again."""

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> bool:
        before = self._said(host, BOOT_ID, connector_arguments)
        about = put_away(host.name)
        host.connector.run_shell_command(StringCommand("systemctl", "--no-block", "reboot"), **connector_arguments)
        deadline = time.monotonic() + REBOOT_S
        while self._boot(host, connector_arguments) in ("", before):
            if time.monotonic() > deadline:
                host.log_styled(f"is not back after {REBOOT_S} s", fg="red", log_func=logger.error)
                return False
            time.sleep(1)
        if problem := take_up(state, host.name, about):
            host.log_styled(problem, fg="red", log_func=logger.error)
        return not problem

    def _boot(self, host: Any, arguments: Any) -> str:
        """Which boot answers a new connection, once it has come to its end."""
        host.connector.disconnect()
        host.connector.client.close()
        try:
            host.connector.connect()
            return self._said(host, BOOTED, arguments)
        except (ConnectError, OSError, EOFError):
            return ""

    def _said(self, host: Any, command: str, arguments: Any) -> str:
        _, output = host.connector.run_shell_command(StringCommand(command), **arguments)
        return str(output.stdout)
