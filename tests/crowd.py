"""Clients of a web server that take next to nothing and stay: any number of them, from any address."""

import ctypes
import os
import resource
import socket
import ssl
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from inventories import trusted
from inventories.inventory import LoadedSite
from lab.fetch import lab_of
from lab.network import netns

FILES = 16384
SYN = 2
NAME = "release.lab.example.org"
TLS = trusted.unverified()


@contextmanager
def many_files() -> Iterator[None]:
    """This process may hold that many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, FILES), max(hard, FILES)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def among(site: LoadedSite, host: str, *sources: str) -> Iterator[None]:
    """In the host's own network, where clients may have any address: from this machine a host takes the lab's alone."""
    namespace = Path("/run/netns") / netns(lab_of(site), site.lock.hosts[host].instance_id)
    with ExitStack() as stack:
        own, theirs = (stack.enter_context(path.open()) for path in (Path("/proc/thread-self/ns/net"), namespace))
        _enter(theirs.fileno())
        stack.callback(_enter, own.fileno())
        for one in sources:
            change = [f"{one}/128", "dev", "lo", "nodad"] if ":" in one else [f"{one}/32", "dev", "lo"]
            subprocess.run(["ip", "address", "add", *change], check=True)
            stack.callback(subprocess.run, ["ip", "address", "del", *change[:3]], check=True)
        yield


def _enter(namespace: int) -> None:
    """Of this thread; setns(2)."""
    assert ctypes.CDLL(None, use_errno=True).setns(namespace, 0) == 0, os.strerror(ctypes.get_errno())


def connected(address: str, source: str, port: int = 443, name: str = NAME) -> ssl.SSLSocket:
    """A connection of a reader that takes next to nothing. Whose certificate it is, other suites look at."""
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.settimeout(30)
    found.bind((source, 0))
    found.connect((address, port))
    return TLS.wrap_socket(found, server_hostname=name)


def ask(connection: ssl.SSLSocket, path: str, method: str = "GET", name: str = NAME) -> None:
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())


def status(connection: ssl.SSLSocket) -> int:
    """Of an answer; 0 when the connection ended."""
    answer = connection.recv(1024)
    return int(answer.split()[1]) if answer else 0


def get(address: str, path: str, source: str) -> int:
    with connected(address, source) as connection:
        ask(connection, path)
        return status(connection)


def crowd(
    stack: ExitStack, address: str, sources: Sequence[str], path: str, count: int, port: int = 443
) -> Counter[int]:
    """Clients at once, none of which ends before the stack does; what each was answered."""
    clients = []
    for number in range(count):
        clients.append(stack.enter_context(connected(address, sources[number % len(sources)], port)))
        ask(clients[-1], path)
    return Counter(status(client) for client in clients)


def half_open(address: str, count: int, port: int = 443) -> None:
    """First packets of IPv4 connections from addresses that nobody has (RFC 5737), and nothing after them."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for number in range(count):
            source = socket.inet_aton(f"198.51.{100 + number % 2 * 13}.{number % 250 + 1}")
            target = socket.inet_aton(address)
            segment = struct.pack("!HHIIBBHHH", 1024 + number // 2, port, number, 0, 5 << 4, SYN, 64240, 0, 0)
            summed = _checksum(source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment)) + segment)
            segment = segment[:16] + struct.pack("!H", summed) + segment[18:]
            head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0, source, target)
            raw.sendto(head + segment, (address, 0))


def _checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
