"""The operation that has a host get its certificate, where one is due."""

from collections.abc import Generator
from typing import Any

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from roles.common import operations
from roles.common.facts import LOOKED, Look
from roles.common.nginx.certificate import PLAN, PROGRAM

DECIDING = {f"{PLAN}/plan.json", f"{PLAN}/roots.pem"}
"""Files by which the program decides."""
UNIT = "mainstay-certificate.service"
RUNBOOK = "docs/runbooks/certificate-will-not-renew.md"
DUE = "a certificate is due: "
"""How the program begins its first line, which has been said here already."""
SAID = f"journalctl -q --no-pager -o cat -n 15 _SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value {UNIT})"


class DueLook(Look):
    """Why a certificate is due; no line if none is."""

    kind = "certificates"

    def command(self) -> str:
        program = f"python3 -I {PROGRAM} due 2>/dev/null || echo nobody can tell"
        return f"echo {LOOKED}; if test -e {PROGRAM}; then {program}; else echo there is none; fi"


@operation()
def obtained() -> Generator[PyinfraCommand, None, None]:
    """The host has the certificate that is declared. One that it cannot get fails no deploy: it serves on with what it
    has, tells the admins by mail, and tries again by itself."""
    why = host.get_fact(DueLook)
    if why is None:
        return
    if why:
        host.log(f"  {DUE}{why[0]}")
        yield Obtain()
    elif not state.is_executing and DECIDING & {*operations.files_to_come[host.name]}:
        host.log("  a certificate may be due: what is wanted changes")
        yield Obtain()


class Obtain(PyinfraCommand):
    """Runs the unit, and tells what went wrong."""

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> bool:
        words = f"systemctl start {UNIT} || {{ {SAID}; exit 1; }}"
        done, output = host.run_shell_command(StringCommand(words), **connector_arguments)
        if not done:
            said = [f"      {line}" for line in output.stdout_lines if not line.startswith(DUE)]
            first = "  no certificate was got, and the host serves on with the one it has:"
            last = f"      The host tries again twice a day. What to do: {RUNBOOK}"
            host.log_styled("\n".join((first, *said, last)), fg="yellow", log_func=logger.warning)
        return True
