"""The lab's cloud with real hosts: what a call promises is what the hosts then see."""

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lab.engine import MAX_INDEX, LabConfig
from tests.lab_hosts import Host, LabCloud, cloud, keygen
from tests.waiting import until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def api(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    yield from cloud(lab, tmp_path_factory.mktemp("lab-api"))


@pytest.fixture(scope="module")
def two(api: LabCloud) -> tuple[Host, Host]:
    """Two hosts in the same region, nothing in front of them."""
    ids = [api.begin(label) for label in ("first", "second")]
    first, second = map(api.ready, ids)
    return first, second


def reaches(host: Host, target: str, port: int) -> bool:
    """Whether a TCP connection from the host to the target comes about."""
    return host.ssh(f'timeout 2 bash -c "</dev/tcp/{target}/{port}" 2>/dev/null && echo yes', check=False) == "yes\n"


def pings(host: Host, target: str) -> bool:
    return host.ssh(f"ping -c1 -W2 {target} >/dev/null && echo yes", check=False) == "yes\n"


def dig(api: LabCloud, name: str, kind: str, *options: str) -> list[str]:
    server = str(api.config.gateway6 if "-6" in options else api.config.gateway4)
    command = ["dig", *options, f"@{server}", "+short", name, kind]
    return subprocess.run(command, text=True, capture_output=True, check=True, timeout=120).stdout.splitlines()


def test_user_data_is_applied_by_the_hosts_own_cloud_init(two: tuple[Host, Host]) -> None:
    host = two[0]
    assert host.ssh("hostname").strip() == "first"
    assert host.ssh("cloud-init status --wait").strip() == "status: done"
    assert "DataSourceVultr" in host.ssh("cat /run/cloud-init/result.json")
    assert host.ssh("systemctl is-system-running --wait").strip() == "running"
    assert host.ssh("cat /etc/debian_version").startswith("13")


def test_the_lab_listens_on_loopback_and_the_bridges_of_labs_only(api: LabCloud) -> None:
    config = api.config
    labs = [replace(config, index=index) for index in range(MAX_INDEX + 1)]
    bridges = {str(address) for lab in labs for address in (lab.gateway4, lab.gateway6)} | {"169.254.169.254"}
    daemon = (config.root / "daemon.pid").read_text()
    sockets = subprocess.run(["ss", "-Hltunp"], text=True, capture_output=True, check=True).stdout.splitlines()
    ours = [line.split()[4] for line in sockets if f"pid={daemon}," in line or "apt-cacher-ng" in line]
    found = {socket.rpartition(":")[0].partition("%")[0].strip("[]") for socket in ours}
    assert {"127.0.0.1", str(config.gateway4), "169.254.169.254"} <= found
    assert {address for address in found if not ip_address(address).is_loopback} <= bridges


def test_metadata_tells_hosts_apart(two: tuple[Host, Host]) -> None:
    for host in two:
        assert host.ssh("curl -s http://169.254.169.254/v1/instance-v2-id") == host.id


def test_keys_and_startup_script_of_the_account_reach_a_new_host(api: LabCloud) -> None:
    keygen(api.folder / "account")
    public = (api.folder / "account.pub").read_text().strip()
    key = api("POST", "/ssh-keys", {"name": "k", "ssh_key": public})["ssh_key"]["id"]
    script = base64.b64encode(b"#!/bin/sh\necho ran > /root/startup\n").decode()
    script_id = api("POST", "/startup-scripts", {"name": "s", "script": script})["startup_script"]["id"]
    host = api.host("keyed", sshkey_id=[key], script_id=script_id)
    host.ssh("cloud-init status --wait")
    assert host.ssh("cat /root/startup") == "ran\n"
    assert public.split()[1] in host.ssh("cat /root/.ssh/authorized_keys")
    api("DELETE", f"/instances/{host.id}")


def test_the_firewall_opens_what_its_rules_say_and_nothing_else(api: LabCloud, two: tuple[Host, Host]) -> None:
    host, other = two
    host.ssh("systemd-run --unit=web python3 -m http.server --bind :: 8000")
    until("the web server", lambda: reaches(other, host.ipv4, 8000) and reaches(other, host.ipv6, 8000))
    group = api("POST", "/firewalls", {"description": "e2e"})["firewall_group"]["id"]
    rules = f"/firewalls/{group}/rules"
    api("POST", rules, {"ip_type": "v4", "protocol": "tcp", "subnet": "0.0.0.0", "subnet_size": 0, "port": "22"})
    api("PATCH", f"/instances/{host.id}", {"firewall_group_id": group})

    def openings() -> list[bool]:
        return [reaches(other, address, port) for port in (22, 8000) for address in (host.ipv4, host.ipv6)]

    assert openings() == [True, False, False, False]
    assert not pings(other, host.ipv4)
    rule = {"ip_type": "v6", "protocol": "tcp", "subnet": other.ipv6, "subnet_size": 128, "port": "7999:8001"}
    made = api("POST", rules, rule)["firewall_rule"]["id"]
    assert openings() == [True, False, False, True]
    api("DELETE", f"{rules}/{made}")
    assert openings() == [True, False, False, False]
    api("DELETE", f"/firewalls/{group}")
    assert openings() == [True, True, True, True]
    assert pings(other, host.ipv6)


def test_hosts_of_different_vpcs_cannot_reach_each_other_there(api: LabCloud, two: tuple[Host, Host]) -> None:
    vpcs = [
        api("POST", "/vpcs", {"region": "ams", "v4_subnet": "10.33.0.0", "v4_subnet_mask": 24})["vpc"]["id"]
        for _ in range(2)
    ]
    first, second = two
    third = api.host("third", attach_vpc=[vpcs[1]])
    for host in two:
        api("POST", f"/instances/{host.id}/vpcs/attach", {"vpc_id": vpcs[0]})
    address = {host: api("GET", f"/instances/{host.id}/vpcs")["vpcs"][0]["ip_address"] for host in (*two, third)}
    assert (address[first], address[second], address[third]) == ("10.33.0.3", "10.33.0.4", "10.33.0.3")
    until("the VPC between first and second", lambda: pings(first, address[second]))
    third.ssh("ip addr replace 10.33.0.77/24 dev eth1")
    assert not pings(first, "10.33.0.77")
    api("POST", f"/instances/{second.id}/vpcs/detach", {"vpc_id": vpcs[0]})
    assert not pings(first, address[second])
    api("DELETE", f"/instances/{third.id}")


def test_records_are_served_to_hosts_as_soon_as_they_are_written(api: LabCloud, two: tuple[Host, Host]) -> None:
    api("POST", "/domains", {"domain": "e2e.example.org"})
    records = "/domains/e2e.example.org/records"
    for kind, name, data, priority in (
        ("A", "www", two[0].ipv4, 0),
        ("AAAA", "www", two[0].ipv6, 0),
        ("CNAME", "alias", "www.e2e.example.org", 0),
        ("MX", "", "mail.e2e.example.org", 10),
        ("TXT", "", '"v=spf1 -all"', 0),
        ("SRV", "_ssh._tcp", "5 22 www.e2e.example.org", 1),
        ("CAA", "", '0 issue "letsencrypt.org"', 0),
        ("SSHFP", "www", "4 2 " + "ab" * 32, 0),
        ("A", "*.wild", "192.0.2.9", 0),
    ):
        api("POST", records, {"type": kind, "name": name, "data": data, "priority": priority, "ttl": 120})
    assert two[0].ipv4 in two[1].ssh("getent ahostsv4 alias.e2e.example.org")
    assert two[0].ipv6 in two[1].ssh("getent ahostsv6 www.e2e.example.org")
    assert str(api.config.gateway4) in two[1].ssh("getent ahostsv4 api.lab.internal")
    assert dig(api, "e2e.example.org", "MX") == ["10 mail.e2e.example.org."]
    assert dig(api, "e2e.example.org", "TXT", "+tcp") == ['"v=spf1 -all"']
    assert dig(api, "_ssh._tcp.e2e.example.org", "SRV", "-6") == ["1 5 22 www.e2e.example.org."]
    assert dig(api, "e2e.example.org", "CAA") == ['0 issue "letsencrypt.org"']
    assert dig(api, "www.e2e.example.org", "SSHFP")[0].replace(" ", "").lower() == "42" + "ab" * 32
    assert dig(api, "any.wild.e2e.example.org", "A") == ["192.0.2.9"]
    assert dig(api, "e2e.example.org", "NS") == ["ns1.vultr.com.", "ns2.vultr.com."]
    reverse = {"ip": two[0].ipv6, "reverse": "www.e2e.example.org"}
    api("POST", f"/instances/{two[0].id}/ipv6/reverse", reverse)
    assert "www.e2e.example.org" in two[1].ssh(f"getent hosts {two[0].ipv6}")


def test_a_snapshot_makes_a_host_with_the_same_disk_and_another_name(api: LabCloud, two: tuple[Host, Host]) -> None:
    two[0].ssh("echo kept > /root/kept; sync")
    body = {"instance_id": two[0].id, "description": "e2e"}
    snapshot = api("POST", "/snapshots", body)["snapshot"]["id"]
    path = f"/snapshots/{snapshot}"
    until("a complete snapshot", lambda: api("GET", path)["snapshot"]["status"] == "complete")
    assert api("GET", path)["snapshot"]["size"] > 0
    copy = api.host("copy", os_id=None, snapshot_id=snapshot)
    assert copy.ssh("cat /root/kept") == "kept\n"
    assert copy.ssh("hostname") == "copy\n"
    copy.ssh("rm /root/kept; sync")
    api("POST", f"/instances/{copy.id}/restore", {"snapshot_id": snapshot})
    assert api.ready(copy.id).ssh("cat /root/kept") == "kept\n"
    api("DELETE", f"/instances/{copy.id}")


def test_a_volume_survives_the_reinstallation_of_its_host(api: LabCloud) -> None:
    host = api.host("volume")
    block = api("POST", "/blocks", {"region": "ams", "size_gb": 10, "label": "data"})["block"]
    api("POST", f"/blocks/{block['id']}/attach", {"instance_id": host.id, "live": True})
    device = f"/dev/disk/by-id/virtio-{block['mount_id']}"
    until("the device", lambda: host.ssh(f"test -b {device} && echo yes", check=False))
    host.ssh(f"mkfs.ext4 -q {device} && mount {device} /mnt && echo kept > /mnt/kept && umount /mnt")
    host.ssh("touch /root/lost")
    api("PATCH", f"/blocks/{block['id']}", {"size_gb": 20})
    assert int(host.ssh(f"blockdev --getsize64 {device}")) == 20 * 2**30
    api("POST", f"/instances/{host.id}/reinstall", {})
    host = api.ready(host.id)
    assert host.ssh("ls /root/lost", check=False) == ""
    assert host.ssh(f"mount {device} /mnt && cat /mnt/kept") == "kept\n"
    host.ssh("umount /mnt")
    api("POST", f"/blocks/{block['id']}/detach", {"live": True})
    assert host.ssh(f"test -b {device} && echo yes", check=False) == ""
    api("DELETE", f"/instances/{host.id}")


def test_a_reserved_address_leads_to_the_host_it_is_attached_to(api: LabCloud, two: tuple[Host, Host]) -> None:
    reserved = api("POST", "/reserved-ips", {"region": "ams", "ip_type": "v4"})["reserved_ip"]
    for host, other in (two, two[::-1]):
        api("POST", f"/reserved-ips/{reserved['id']}/attach", {"instance_id": host.id})
        until("the address", lambda host=host: reserved["subnet"] in host.ssh("ip -4 addr show"))  # type: ignore[misc]
        until("a way to it", lambda other=other: pings(other, reserved["subnet"]))  # type: ignore[misc]
        api("POST", f"/reserved-ips/{reserved['id']}/detach")
        until("no address", lambda host=host: reserved["subnet"] not in host.ssh("ip -4 addr show"))  # type: ignore[misc]
    api("DELETE", f"/reserved-ips/{reserved['id']}")


def test_a_host_is_halted_started_and_rebooted(api: LabCloud, two: tuple[Host, Host]) -> None:
    host = two[1]
    api("POST", f"/instances/{host.id}/halt")
    until("a stopped host", lambda: api.show(host.id)["power_status"] == "stopped")
    api("POST", f"/instances/{host.id}/start")
    before = api.ready(host.id).ssh("cat /proc/1/stat")
    api("POST", f"/instances/{host.id}/reboot")
    assert api.ready(host.id).ssh("cat /proc/1/stat") != before


def test_a_host_can_be_cut_off_and_its_disk_filled_and_both_undone(api: LabCloud, two: tuple[Host, Host]) -> None:
    host, other = two
    for fault in ({"kind": "cut", "instance": host.label}, {"kind": "full_disk", "instance": other.label}):
        assert api.raw("POST", "/lab/faults", fault).status_code == 201
    assert not host.answers()
    assert "No space left" in other.ssh("dd if=/dev/zero of=/root/x bs=1M count=1 2>&1", check=False)
    assert api.raw("DELETE", "/lab/faults").status_code == 204
    until("the host again", host.answers)
    other.ssh("dd if=/dev/zero of=/root/x bs=1M count=1 2>&1 && rm /root/x")


def test_a_host_that_never_boots_is_booting_for_ever_and_can_be_deleted(api: LabCloud) -> None:
    assert api.raw("POST", "/lab/faults", {"kind": "never_boots", "instance": "dead"}).status_code == 201
    instance = api.begin("dead")
    until("an active instance", lambda: api.show(instance)["status"] == "active")
    shown = api.show(instance)
    assert (shown["power_status"], shown["server_status"]) == ("running", "installingbooting")
    api("DELETE", f"/instances/{instance}")
    until("no such instance", lambda: api.raw("GET", f"/v2/instances/{instance}").status_code == 404)
