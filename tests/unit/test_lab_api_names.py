"""What the lab's name servers answer, asked as a resolver would be."""

from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import dnslib
import pytest

from lab.api.names import NAME_SERVERS, Names, machine_resolvers
from lab.api.store import Store
from lab.engine import LabConfig

Ask = Callable[[str, str], Any]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Asks for a name and a type; the whole reply. Nothing outside is asked."""
    store = Store(tmp_path / "db")
    soa = {"nsprimary": "ns1.vultr.com", "email": "admin@example.org"}
    store.put("domain", {"id": "example.org", "_soa": soa})
    store.put("domain", {"id": "sub.example.org", "_soa": soa})
    for number, (domain, name, kind, data) in enumerate(
        (
            ("example.org", "", "A", "192.0.2.1"),
            ("example.org", "WWW", "A", "192.0.2.2"),
            ("example.org", "www", "A", "192.0.2.3"),
            ("example.org", "alias", "CNAME", "www.example.org"),
            ("example.org", "loop", "CNAME", "loop.example.org"),
            ("example.org", "*", "CNAME", "example.org"),
            ("example.org", "a.b", "A", "192.0.2.4"),
            ("sub.example.org", "", "TXT", '"' + "x" * 300 + '"'),
            ("sub.example.org", "parts", "TXT", '"v=DKIM1; p=ab" "cd"'),
            ("sub.example.org", "umlauts", "TXT", "é" * 200),
        )
    ):
        record = {"id": str(number), "_domain": domain, "name": name, "type": kind, "data": data}
        store.put("record", record | {"ttl": 300, "priority": 0})
    host = {"id": "h", "main_ip": "10.79.0.16", "_ipv6": "fd6d:7300:f::10", "_extra_ipv4": []}
    store.put("instance", host | {"_reverse": {"fd6d:7300:f::10": "h.example.org"}})
    names = Names(store, LabConfig("unit", 15, tmp_path), upstreams=[])
    return lambda name, kind: names.resolve(dnslib.DNSRecord.question(name, kind), None)


def data(reply: Any) -> list[str]:
    return [str(rr.rdata) for rr in reply.rr]


def test_names_are_matched_whatever_their_case(ask: Ask) -> None:
    assert data(ask("Www.Example.ORG", "A")) == ["192.0.2.2", "192.0.2.3"]


def test_aliases_are_followed_and_loops_end(ask: Ask) -> None:
    assert data(ask("alias.example.org", "A")) == ["www.example.org.", "192.0.2.2", "192.0.2.3"]
    assert set(data(ask("loop.example.org", "A"))) == {"loop.example.org."}


def test_wildcards_stand_in_for_names_that_do_not_exist_only(ask: Ask) -> None:
    assert data(ask("other.example.org", "A")) == ["example.org.", "192.0.2.1"]
    for existing in ("www.example.org", "b.example.org"):
        reply = ask(existing, "AAAA")
        assert (data(reply), reply.header.rcode) == ([], dnslib.RCODE.NOERROR)
        assert reply.auth[0].rtype == dnslib.QTYPE.SOA


def test_the_nearest_domain_answers_and_what_it_lacks_does_not_exist(ask: Ask) -> None:
    assert ask("x.sub.example.org", "A").header.rcode == dnslib.RCODE.NXDOMAIN
    text = ask("sub.example.org", "TXT").rr[0].rdata.data
    assert [len(part) for part in text] == [255, 45]
    assert ask("parts.sub.example.org", "TXT").rr[0].rdata.data == [b"v=DKIM1; p=ab", b"cd"]
    assert b"".join(ask("umlauts.sub.example.org", "TXT").rr[0].rdata.data).decode() == "é" * 200


def test_a_domain_tells_who_is_its_authority(ask: Ask) -> None:
    assert data(ask("sub.example.org", "SOA"))[0].startswith("ns1.vultr.com. admin.example.org.")
    assert data(ask("www.example.org", "SOA")) == []


def test_hosts_find_the_labs_own_services_and_each_other_by_address(ask: Ask) -> None:
    assert data(ask("mail.lab.internal", "A")) == ["10.79.0.1"]
    assert data(ask("api.lab.internal", "AAAA")) == ["fd6d:7300:f::1"]
    assert ask("x.lab.internal", "A").header.rcode == dnslib.RCODE.NXDOMAIN
    assert data(ask("16.0.79.10.in-addr.arpa", "PTR")) == ["10.79.0.16.vultrusercontent.com."]
    assert data(ask(IPv6Address("fd6d:7300:f::10").reverse_pointer, "PTR")) == ["h.example.org."]


def test_a_name_nobody_here_knows_fails_as_such_when_no_resolver_answers(ask: Ask) -> None:
    assert ask("www.example.net", "A").header.rcode == dnslib.RCODE.SERVFAIL


def test_the_machines_resolvers_are_read_from_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert machine_resolvers(file) == []
    file.write_text("search x\nnameserver 192.0.2.53\n# nameserver 192.0.2.54\nnameserver ::1\n")
    assert machine_resolvers(file) == ["192.0.2.53", "::1"]


def test_the_providers_name_servers_are_the_labs(ask: Ask) -> None:
    for server in NAME_SERVERS:
        assert data(ask(server, "A")) == ["10.79.0.1"]
        assert data(ask(server, "AAAA")) == ["fd6d:7300:f::1"]
        assert data(ask(server, "TXT")) == []
