"""The lab's name servers: the provider's DNS for the API's domains, and the resolver of the lab's hosts.

Answers from domains and records as they are at that moment, `lab.internal` (the lab's own services), what the provider
calls its name servers, which these are, and the reverse names of the hosts; asks the machine's resolvers for all else.
UDP and TCP, on the lab's gateway addresses.
"""

import logging
import shlex
import socket
import socketserver
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import dnslib
from dnslib.server import DNSServer, TCPServer, UDPServer

from lab.api.store import Item, Store
from lab.engine import LabConfig

log = logging.getLogger(__name__)

INTERNAL = "lab.internal"
NAME_SERVERS = ("ns1.vultr.com", "ns2.vultr.com")
"""What the provider calls its own: who follows a domain's NS records comes here."""
CNAME_DEPTH = 8
LONGEST = 4096
"""Bytes of a record's data."""


def check(record: Item) -> None:
    """Raises ValueError or LookupError for a record that no answer could carry."""
    packed = dnslib.DNSBuffer()
    try:
        rdata(record).pack(packed)
    except struct.error as error:
        raise ValueError(str(error)) from error
    if not 0 < len(packed.data) <= LONGEST:
        raise ValueError(f"{len(packed.data)} bytes: 1 to {LONGEST} are possible")


def rdata(record: Item) -> Any:
    """A record's data as the wire has it. Raises ValueError or LookupError for data that cannot be one."""
    kind, data = record["type"], record["data"].strip()
    try:
        match kind:
            case "A":
                return dnslib.A(str(IPv4Address(data)))
            case "AAAA":
                return dnslib.AAAA(str(IPv6Address(data)))
            case "CNAME" | "NS":
                return getattr(dnslib, kind)(_host(data))
            case "MX":
                return dnslib.MX(_host(data), record["priority"])
            case "TXT":
                parts = [part.encode() for part in (shlex.split(data) if data.startswith('"') else [data])]
                return dnslib.TXT([part[i : i + 255] for part in parts for i in range(0, len(part), 255)])
            case "SRV":
                weight, port, target = data.split()
                return dnslib.SRV(record["priority"], int(weight), int(port), _host(target))
            case "CAA":
                flags, tag, value = shlex.split(data)
                return dnslib.CAA(int(flags), tag, value)
            case "SSHFP":
                algorithm, kind_of_print, fingerprint = data.split()
                return dnslib.SSHFP(int(algorithm), int(kind_of_print), bytes.fromhex(fingerprint))
    except dnslib.DNSError as error:
        raise ValueError(str(error)) from error
    raise LookupError(f"no such type: {kind}")


def _host(name: str) -> str:
    if not name or any(character.isspace() for character in name):
        raise ValueError(f"{name!r} is not a host name")
    return name


def default_reverse(address: str) -> str:
    """The name an address has when nobody gave it one."""
    return f"{address}.vultrusercontent.com"


def _matching(records: Sequence[Item], label: str) -> tuple[list[Item], bool]:
    """(records of a name within its domain, whether the name exists); wildcards stand in for names that do not."""
    exact = [record for record in records if record["name"].lower() == label]
    if exact or any(record["name"].lower().endswith("." + label) for record in records if label):
        return exact, True
    parts = label.split(".")
    for i in range(len(parts)):
        wild = ".".join(("*", *parts[i + 1 :]))
        found = [record for record in records if record["name"] == wild]
        if found:
            return found, True
    return [], not label


class Names:
    """Resolver in dnslib's sense: one request in, one reply out. `upstreams`: addresses of the machine's resolvers."""

    def __init__(self, store: Store, config: LabConfig, upstreams: Sequence[str]) -> None:
        self._store, self._config, self._upstreams = store, config, upstreams

    def resolve(self, request: Any, handler: Any) -> Any:
        """Called by dnslib for each request."""
        question = request.q
        name, kind = str(question.qname).rstrip(".").lower(), dnslib.QTYPE.get(question.qtype)
        try:
            reply = request.reply()
            if self._answer(reply, name, kind, CNAME_DEPTH):
                return reply
            return self._forward(request, tcp=handler is not None and handler.protocol == "tcp")
        except Exception:
            log.exception("cannot answer %s %s", name, kind)
            reply = request.reply()
            reply.header.rcode = dnslib.RCODE.SERVFAIL
            return reply

    def _answer(self, reply: Any, name: str, kind: str, depth: int) -> bool:
        """Adds what the lab knows; False when the name is not the lab's."""
        reply.header.ra = 1
        if name in NAME_SERVERS:
            self._add_gateway(reply, name, kind)
            return True
        if name == INTERNAL or name.endswith("." + INTERNAL):
            self._answer_internal(reply, name, kind)
            return True
        if name.endswith((".in-addr.arpa", ".ip6.arpa")):
            return self._answer_reverse(reply, name, kind)
        domains = [d for d in self._store.all("domain") if name == d["id"] or name.endswith("." + d["id"])]
        if not domains:
            return False
        domain = max(domains, key=lambda d: len(d["id"]))
        reply.header.aa = 1
        records = [record for record in self._store.all("record") if record["_domain"] == domain["id"]]
        found, exists = _matching(records, name.removesuffix(domain["id"]).rstrip("."))
        for record in found:
            if kind in (record["type"], "ANY"):
                self._add(reply, name, record["type"], rdata(record), record["ttl"])
            elif record["type"] == "CNAME":
                self._add(reply, name, "CNAME", rdata(record), record["ttl"])
                self._follow(reply, record["data"].rstrip(".").lower(), kind, depth)
        email = domain["_soa"]["email"].replace("@", ".")
        soa = dnslib.SOA(domain["_soa"]["nsprimary"], email, (1, 10800, 3600, 604800, 120))
        if name == domain["id"] and kind in ("SOA", "ANY"):
            self._add(reply, name, "SOA", soa, 120)
        if not reply.rr:
            reply.header.rcode = dnslib.RCODE.NOERROR if exists else dnslib.RCODE.NXDOMAIN
            reply.add_auth(dnslib.RR(domain["id"], dnslib.QTYPE.SOA, ttl=120, rdata=soa))
        return True

    def _follow(self, reply: Any, target: str, kind: str, depth: int) -> None:
        if depth and not self._answer(reply, target, kind, depth - 1):
            for rr in self._forward(dnslib.DNSRecord.question(target, kind)).rr:
                reply.add_answer(rr)

    def _add(self, reply: Any, name: str, kind: str, data: Any, ttl: int) -> None:
        reply.add_answer(dnslib.RR(name, getattr(dnslib.QTYPE, kind), ttl=ttl, rdata=data))

    def _answer_internal(self, reply: Any, name: str, kind: str) -> None:
        if name.removesuffix(INTERNAL).rstrip(".") not in ("", "api", "mail"):
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        else:
            self._add_gateway(reply, name, kind)

    def _add_gateway(self, reply: Any, name: str, kind: str) -> None:
        if kind == "A":
            self._add(reply, name, "A", dnslib.A(str(self._config.gateway4)), 60)
        elif kind == "AAAA":
            self._add(reply, name, "AAAA", dnslib.AAAA(str(self._config.gateway6)), 60)

    def _answer_reverse(self, reply: Any, name: str, kind: str) -> bool:
        labels = name.split(".")[:-2][::-1]
        nibbles = "".join(labels)
        groups = [nibbles[i : i + 4] for i in range(0, len(nibbles), 4)]
        try:
            address = ip_address(".".join(labels) if len(labels) == 4 else ":".join(groups))
        except ValueError:
            return False
        if address not in (self._config.network4 if address.version == 4 else self._config.network6):
            return False
        text = str(address)
        owner = [i for i in self._store.all("instance") if text in (i["main_ip"], i["_ipv6"], *i["_extra_ipv4"])]
        if not owner:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        elif kind == "PTR":
            target = owner[0]["_reverse"].get(text) or default_reverse(text)
            self._add(reply, name, "PTR", dnslib.PTR(target), 300)
        return True

    def _forward(self, request: Any, *, tcp: bool = False) -> Any:
        for upstream in self._upstreams:
            try:
                return dnslib.DNSRecord.parse(request.send(upstream, 53, tcp=tcp, timeout=3))
            except (OSError, dnslib.DNSError):
                log.warning("the machine's resolver %s does not answer for %s", upstream, request.q.qname)
        raise OSError("no resolver of the machine answers")


class _Udp6(UDPServer):  # type: ignore[misc]  # dnslib is untyped
    address_family = socket.AF_INET6


class _Tcp6(TCPServer):  # type: ignore[misc]  # dnslib is untyped
    address_family = socket.AF_INET6


class _Udp4(UDPServer):  # type: ignore[misc]  # dnslib is untyped
    allow_reuse_address = True


class _Tcp4(TCPServer):  # type: ignore[misc]  # dnslib is untyped
    request_queue_size = 64


_SERVERS: dict[tuple[int, bool], type[socketserver.BaseServer]] = {
    (4, False): _Udp4,
    (4, True): _Tcp4,
    (6, False): _Udp6,
    (6, True): _Tcp6,
}


def machine_resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The machine's own resolvers."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]


def serve(names: Names, addresses: Sequence[str], port: int = 53) -> list[Any]:
    """Answers on these addresses in threads of its own; returns what has to be `stop()`ped."""
    servers = []
    for address in addresses:
        for tcp in (False, True):
            server = DNSServer(
                names, address=address, port=port, tcp=tcp, server=_SERVERS[ip_address(address).version, tcp]
            )
            server.start_thread()
            servers.append(server)
    return servers
