"""What the suites of the signing host share, and what they try: sessions, connections, others' memory, the clock."""

import errno
import json
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host

from inventories.inventory import LoadedSite
from roles.signing.deploy import SIGNER
from roles.signing.settings import Settings
from tests.waiting import until

STRANGER = "nobody"
PROHIBITED = {errno.EACCES, errno.EPERM, errno.EHOSTUNREACH, errno.ECONNREFUSED}
CONNECT = """
import errno, socket, sys
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
one.settimeout(3)
try:
    one.connect((sys.argv[1], int(sys.argv[2])))
    print(0)
except TimeoutError:
    print(errno.ETIMEDOUT)
except OSError as error:
    print(error.errno)
"""
READ_MEMORY = """
import ctypes, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
try:
    with open(f"/proc/{pid}/maps") as maps:
        address = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        memory.read(8)
    print("/proc/PID/mem")
except OSError:
    address = 4096
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
into = ctypes.create_string_buffer(8)
here, there = Vector(ctypes.addressof(into), 8), Vector(address, 8)
if libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0:
    print("process_vm_readv")
elif ctypes.get_errno() not in (1, 3, 13):
    print("process_vm_readv: errno", ctypes.get_errno())
if libc.ptrace(16, pid, 0, 0) == 0:
    print("ptrace")
"""
SET_CLOCK = "import time; time.clock_settime(time.CLOCK_REALTIME, time.time())"
OPEN_PERF = """
import ctypes
event = (ctypes.c_uint32 * 32)(0, 128)
libc = ctypes.CDLL(None, use_errno=True)
print("opened" if libc.syscall(298, event, 0, -1, -1, 0) >= 0 else "refused")
"""
"""perf_event_open(2) on amd64, of the process itself."""


@dataclass(frozen=True)
class Session:
    """A session with the HSM that somebody is in."""

    unit: str
    pid: str

    @property
    def folder(self) -> str:
        return f"/run/{self.unit.removesuffix('.service')}"


def declared(site: LoadedSite, host_name: str) -> Settings:
    """What is set for the host."""
    found = site.settings(host_name)["signing"]
    assert isinstance(found, Settings)
    return found


def sessions(host: Host) -> set[str]:
    listed = "systemctl list-units --no-legend --plain 'signing-session-*.service'"
    return {line.split()[0] for line in host.check_output(listed).splitlines()}


def begin(host: Host) -> Session:
    """One that has left a process behind that its end must not forget."""
    before = sessions(host)
    words = 'sh -c "setsid sleep 7200 & exec sleep 7201"'
    host.check_output(f"nohup signing-session {words} >/dev/null 2>&1 </dev/null & echo begun")
    unit = until("a session", lambda: sessions(host) - before).pop()
    shown = f"systemctl show -p MainPID --value {unit}"
    pid = str(until("its process", lambda: int(host.check_output(shown))))
    until("its second process", lambda: host.run(f"pgrep -u {SIGNER} -fx 'sleep 7200'").rc == 0)
    return Session(unit, pid)


def end(host: Host, session: Session) -> None:
    host.check_output(f"systemctl stop {session.unit}")


def python(host: Host, user: str, program: str, *arguments: str) -> Any:
    words = " ".join(arguments)
    return host.run(f"runuser -u {user} -- python3 -c '{program}' {words}")


def connect(host: Host, user: str, address: str, port: int) -> int:
    """errno, 0 when it came through."""
    return int(python(host, user, CONNECT, address, str(port)).stdout)


def exposure(host: Host, unit: str) -> float:
    said = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -1")
    return float(said.split(":")[1].split()[0])


def state(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.check_output("signing-state"))
    return found
