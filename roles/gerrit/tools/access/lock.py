"""One apply at a time: a lock on Gerrit's host, which goes with the connection. Who died holds up nobody."""

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from backup.reach import Unreachable, reach
from inventories.inventory import LoadedSite
from roles.gerrit.tools.rest import Refused
from roles.gerrit.tools.server import host_of

FILE = "/run/mainstay-gerrit-apply.lock"
TAKEN = 75
"""Exit code of flock where another has it; EX_TEMPFAIL of sysexits.h."""


@contextmanager
def alone(site: LoadedSite) -> Iterator[None]:
    """Raises Refused when another has it, Unreachable."""
    host = host_of(site)
    held = ["sudo", "-n", "flock", "--nonblock", "--conflict-exit-code", str(TAKEN), FILE, "sh", "-c"]
    pipe = subprocess.PIPE
    with (
        reach(site) as way,
        subprocess.Popen(
            way.admin(host, shlex.join([*held, "echo held; exec cat"])), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as ssh,
    ):
        assert ssh.stdout
        if ssh.stdout.readline() != "held\n":
            _, said = ssh.communicate()
            if ssh.returncode == TAKEN:
                raise Refused("another apply is under way: see what is left once it is done")
            raise Unreachable(f"{host}: {' '.join(said.split()) or 'no lock can be had'}")
        try:
            yield
        finally:
            ssh.communicate()
