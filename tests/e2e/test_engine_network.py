"""What lab.engine.Engine promises of networks: who reaches whom, and who does not, with real hosts and real packets."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Interface, ip_network

import pytest

from lab.engine import Machine, Nic, Rule
from tests.e2e.engine_hosts import EngineHosts, address, address6, engine_lab, greets
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

ANY4, ANY6 = ip_network("0.0.0.0/0"), ip_network("::/0")


@pytest.fixture(scope="module")
def hosts() -> Iterator[EngineHosts]:
    with engine_lab("eng") as found:
        yield found


@pytest.fixture(scope="module")
def pair(hosts: EngineHosts) -> tuple[Machine, Machine]:
    """Two hosts that serve HTTP on 8080 and 8081, over IPv4 and IPv6."""
    machines = hosts.boot(1), hosts.boot(2)
    for machine in machines:
        serve(hosts, machine)
    return machines


@pytest.fixture(autouse=True)
def open_again(hosts: EngineHosts) -> Iterator[None]:
    yield
    hosts.engine.set_firewall({})


def serve(hosts: EngineHosts, machine: Machine) -> None:
    for port in (8080, 8081):
        command = f"python3 -m http.server --bind :: --directory /srv {port}"
        hosts.ssh(machine, f"sudo systemd-run --quiet --collect --unit=web{port} {command}")
        hosts.ssh(machine, f"curl -s --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null localhost:{port}")


def reaches(hosts: EngineHosts, machine: Machine, url: str) -> bool:
    return hosts.ssh(machine, f"curl -g -s -m 2 -o /dev/null '{url}'; echo $?") == "0"


def pings(hosts: EngineHosts, machine: Machine, target: str) -> bool:
    return hosts.ssh(machine, f"ping -c1 -W2 {target} >/dev/null; echo $?") == "0"


def test_hosts_reach_each_other_over_ipv4_and_ipv6_at_the_first_try(
    hosts: EngineHosts, pair: tuple[Machine, Machine]
) -> None:
    first, second = pair
    for host, other in ((first, second), (second, first)):
        assert reaches(hosts, host, f"http://{address(other)}:8080/")
        # Twice: after the first answer the kernel would redirect the host to the neighbour it cannot see.
        assert reaches(hosts, host, f"http://[{address6(other)}]:8080/")
        assert reaches(hosts, host, f"http://[{address6(other)}]:8080/")


def test_the_firewall_lets_through_what_a_rule_accepts_and_nothing_else(
    hosts: EngineHosts, pair: tuple[Machine, Machine]
) -> None:
    first, second = pair
    from_first = ip_network(address(first))
    hosts.engine.set_firewall(
        {
            address(second): (Rule("tcp", ANY4, 22, 22), Rule("tcp", from_first, 8080, 8080)),
            address6(second): (Rule("tcp", ANY6, 8081, 8090), Rule("icmp", ANY6)),
        }
    )
    assert reaches(hosts, first, f"http://{address(second)}:8080/")
    assert not reaches(hosts, first, f"http://{address(second)}:8081/")
    assert not pings(hosts, first, address(second))
    assert not reaches(hosts, first, f"http://[{address6(second)}]:8080/")
    assert reaches(hosts, first, f"http://[{address6(second)}]:8081/")
    assert pings(hosts, first, address6(second))
    assert greets(address(second))
    assert not greets(address(second), 8080)
    assert not greets(address6(second))
    assert reaches(hosts, second, f"http://{address(first)}:8080/"), "answers must come in"
    assert reaches(hosts, second, f"http://[{address6(first)}]:8080/")


def test_an_address_without_rules_in_its_group_is_shut_and_one_without_a_group_is_open(
    hosts: EngineHosts, pair: tuple[Machine, Machine]
) -> None:
    _, second = pair
    hosts.engine.set_firewall({address(second): (), address6(second): ()})
    assert not greets(address(second))
    assert not greets(address6(second))
    hosts.engine.set_firewall({})
    assert greets(address(second))
    assert greets(address6(second))


def test_the_firewall_is_there_again_after_the_network_was_lost(
    hosts: EngineHosts, pair: tuple[Machine, Machine]
) -> None:
    first, second = pair
    hosts.engine.set_firewall({address(second): (Rule("tcp", ANY4, 22, 22),)})
    hosts.engine.prepare()
    assert greets(address(second))
    assert not reaches(hosts, first, f"http://{address(second)}:8080/")


def test_a_host_cannot_take_its_neighbours_address_or_mac(hosts: EngineHosts, pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    stolen, stolen6 = hosts.config.network4[0x1FF], hosts.config.network6[0x1FF]
    hosts.ssh(first, f"sudo ip addr add {stolen}/20 dev eth0; sudo ip addr add {stolen6}/128 dev eth0 nodad")
    try:
        assert hosts.ssh(first, f"curl -s -m 2 --interface {stolen} {address(second)}:8080; echo $?") == "28"
        ping6 = f"ping -c1 -W2 -I {stolen6} {address6(second)} >/dev/null; echo $?"
        assert hosts.ssh(first, ping6) == "1"
        assert reaches(hosts, first, f"http://{address(second)}:8080/")
    finally:
        hosts.ssh(first, f"sudo ip addr del {stolen}/20 dev eth0; sudo ip addr del {stolen6}/128 dev eth0")


@pytest.mark.full
def test_hosts_of_two_labs_never_meet(hosts: EngineHosts, pair: tuple[Machine, Machine]) -> None:
    first, _ = pair
    with engine_lab("eng2") as others:
        stranger = others.boot(1)
        serve(others, stranger)
        for host, lab, target in ((first, hosts, others), (stranger, others, hosts)):
            there = stranger if host is first else first
            for url in (f"http://{address(there)}:8080/", f"http://[{address6(there)}]:8080/"):
                assert not reaches(lab, host, url)
            assert not pings(lab, host, str(target.config.gateway4))
            assert not pings(lab, host, str(target.config.gateway6))
            assert pings(lab, host, str(lab.config.gateway4))
        others.engine.sweep()
        assert greets(address(first)), "sweeping one lab must not touch another"


def test_hosts_reach_nothing_beyond_their_lab(hosts: EngineHosts, pair: tuple[Machine, Machine]) -> None:
    first, _ = pair
    # 192.0.2.0/24 and 2001:db8::/32 are documentation networks: nobody's.
    assert hosts.ssh(first, "sudo ip route get 192.0.2.1 | grep -c via") == "1"
    assert not pings(hosts, first, "192.0.2.1")
    assert not pings(hosts, first, "2001:db8::1")


def test_a_vpc_is_attached_live_and_holds_only_its_own(hosts: EngineHosts, pair: tuple[Machine, Machine]) -> None:
    engine = hosts.engine
    plain = [hosts.machine(number) for number in (1, 2)]
    joined = [hosts.machine(number, vpc="vpc-a") for number in (1, 2)]
    for machine in joined:
        engine.set_nics(machine)
    assert pings(hosts, joined[0], "10.9.8.2")
    hosts.reboot(joined[0])
    serve(hosts, joined[0])
    assert pings(hosts, joined[0], "10.9.8.2"), "the address must come back after a reboot"
    assert "configured" in hosts.ssh(joined[0], "networkctl status eth1")

    engine.set_nics(hosts.machine(2, vpc="vpc-b"))
    assert "10.9.8.2" in hosts.ssh(pair[1], "ip -br -4 addr")
    assert not pings(hosts, joined[0], "10.9.8.2"), "another VPC is another wire, whatever its addresses"
    for machine in plain:
        engine.set_nics(machine)
        until("no second wire", lambda machine=machine: "eth1" not in hosts.ssh(machine, "ip -br link"))  # type: ignore[misc]


def test_an_address_more_is_used_at_once(hosts: EngineHosts, pair: tuple[Machine, Machine]) -> None:
    first = pair[0]
    public = first.nics[0]
    extra = IPv4Interface(f"{hosts.config.network4[0x1FE]}/32")
    with_more: Nic = replace(public, ipv4=(*public.ipv4, extra))
    hosts.engine.set_nics(replace(first, nics=(with_more,)))
    assert greets(str(extra.ip))
    hosts.engine.set_nics(first)
    assert not greets(str(extra.ip))
    assert greets(address(first))


def test_a_host_that_is_cut_off_is_gone_until_it_is_let_back(hosts: EngineHosts, pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    hosts.engine.cut(second.id, off=True)
    assert not greets(address(second))
    assert not pings(hosts, first, address(second))
    assert hosts.engine.status(second.id).running
    hosts.engine.set_nics(second)
    assert not pings(hosts, first, address(second)), "a change of its networks lets it back"
    hosts.engine.cut(second.id, off=False)
    until("IPv4 again", lambda: greets(address(second)))
    until("IPv6 again", lambda: greets(address6(second)))
