"""Names, network files and firewall rules of the nspawn engine: all that needs no host."""

from ipaddress import IPv4Interface, IPv6Interface, ip_network
from pathlib import Path

import pytest

from lab import firewall, image, network, prepared, vm_image
from lab.engine import MAX_INDEX, LabConfig, Machine, Nic, Rule
from lab.folder import Attached, Folder, machine_from, machine_to

CONFIG = LabConfig("unit", 1, Path("/nowhere"))
PUBLIC = Nic(
    "56:00:01:00:00:10",
    "public",
    (IPv4Interface("10.65.0.16/20"), IPv4Interface("10.65.0.99/32")),
    (IPv6Interface("fd6d:7300:1::10/64"),),
)
PRIVATE = Nic("5a:00:01:00:00:01", "vpc-a", (IPv4Interface("10.1.0.3/20"),))
MACHINE = Machine("5f7a1c1e-0000-4000-8000-000000000001", "debian-13", 1, 1024, 25, (PUBLIC, PRIVATE))
ANY4, ANY6 = ip_network("0.0.0.0/0"), ip_network("::/0")


def test_names_fit_the_kernel_and_no_lab_claims_another_labs() -> None:
    labs = [LabConfig("x", index, Path("/nowhere")) for index in range(MAX_INDEX + 1)]
    for lab in labs:
        names = [
            network.bridge(lab),
            network.bridge(lab, "5f7a1c1e-0000-4000-8000-000000000002"),
            f"{network.netns(lab, MACHINE.id)}-9",
        ]
        for name in names:
            assert len(name) <= 15
            assert [other.index for other in labs if network.is_ours(other, name)] == [lab.index]


def test_only_new_hosts_of_a_prepared_lab_and_a_known_role_have_their_packages(tmp_path: Path) -> None:
    lab = LabConfig("unit", 1, tmp_path)
    tags = ["mainstay:unit:release-1", "role:release", "role:other"]
    assert prepared.image_for(lab, tags) == "debian-13"
    (tmp_path / prepared.MARK).touch()
    assert prepared.image_for(lab, tags) == "prepared/release"
    for others in ([], ["role:other"], ["release"]):
        assert prepared.image_for(lab, others) == "debian-13"


def test_an_image_of_another_recipe_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {role: prepared.image_id(f"{prepared.PREFIX}{role}") for role in prepared.PACKAGES}
    assert len({*before.values()}) == len(before)
    monkeypatch.setitem(prepared.PACKAGES, "web", ("nginx",))
    assert [role for role, name in before.items() if prepared.image_id(role) != name] == ["web"]


def test_a_vm_of_a_prepared_lab_is_of_an_image_with_its_roles_packages() -> None:
    names = ("debian-13", "prepared/web", "prepared/signing")
    assert len({vm_image.image_id(prepared.packages_of(name)) for name in names}) == len(names)
    assert vm_image.image_id(prepared.packages_of("debian-13")) == vm_image.image_id()


def test_a_machine_survives_being_written_down(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.machine is None
    folder.save_machine(MACHINE)
    assert folder.machine == MACHINE
    assert machine_from(machine_to(MACHINE)) == MACHINE
    folder.save_disks({"d": Attached("b", "serial")})
    assert folder.disks == {"d": Attached("b", "serial")}
    assert folder.supervisor == 0


def test_a_host_is_told_of_all_its_addresses_and_the_gateway() -> None:
    text = network.networkd_file(CONFIG, PUBLIC)
    for line in (
        "MACAddress=56:00:01:00:00:10",
        "Address=10.65.0.16/20",
        "Address=10.65.0.99/32",
        "Address=fd6d:7300:1::10/128",
        "Gateway=10.65.0.1",
        "Gateway=fd6d:7300:1::1\nGatewayOnLink=yes",
        "DNS=10.65.0.1",
    ):
        assert line in text
    private = network.networkd_file(CONFIG, PRIVATE)
    assert "Address=10.1.0.3/20" in private
    assert "Gateway" not in private
    assert "DNS" not in private


def test_addresses_that_a_machine_lost_are_taken_from_the_live_interface() -> None:
    fewer = Nic(PUBLIC.mac, "public", PUBLIC.ipv4[:1], PUBLIC.ipv6)
    assert "addr del 10.65.0.99/32 dev eth0" in network.guest_commands(CONFIG, fewer, "eth0", PUBLIC)
    assert not [line for line in network.guest_commands(CONFIG, PUBLIC, "eth0", fewer) if "del" in line]


@pytest.mark.parametrize(
    ("rule", "version", "text"),
    [
        (Rule("tcp", ANY4, 22, 22), 4, "tcp dport 22 accept"),
        (Rule("tcp", ANY4, 22, 22), 6, None),
        (
            Rule("udp", ip_network("2001:db8::/32"), 60000, 61000),
            6,
            "ip6 saddr 2001:db8::/32 udp dport 60000-61000 accept",
        ),
        (Rule("tcp", ip_network("192.0.2.7/32"), 80, 80), 4, "ip saddr 192.0.2.7/32 tcp dport 80 accept"),
        (Rule("icmp", ANY4), 4, "meta l4proto icmp accept"),
        (Rule("icmp", ANY6), 6, "meta l4proto ipv6-icmp accept"),
        (Rule("esp", ANY6), 6, "meta l4proto esp accept"),
        (Rule("udp", ANY4), 4, "meta l4proto udp accept"),
    ],
)
def test_a_rule_becomes_what_nft_reads(rule: Rule, version: int, text: str | None) -> None:
    assert firewall.rule_text(rule, version) == text


def test_an_address_with_an_empty_group_drops_and_others_are_left_open() -> None:
    rules = firewall.firewall(CONFIG, {"10.65.0.16": (), "fd6d:7300:1::10": (Rule("tcp", ANY6, 22, 22),)})
    assert "chain to_10_65_0_16 {\n    drop\n  }" in rules
    assert "tcp dport 22 accept\n    drop\n" in rules
    assert "ip daddr vmap { 10.65.0.16 : jump to_10_65_0_16 }" in rules
    assert "vmap" not in firewall.firewall(CONFIG, {})


def test_the_tables_replace_themselves_whole_and_touch_no_other() -> None:
    ports = {"ms1-aaaaaaaa-0": (PUBLIC.mac, ["10.65.0.16", "fd6d:7300:1::10"])}
    for family, text in (("inet", firewall.firewall(CONFIG, {})), ("bridge", firewall.guard(CONFIG, ports))):
        named = [line.split()[-2:] for line in text.replace(" {}", "").splitlines() if "table" in line]
        assert text.startswith(f"table {family} ms1 {{}}\ndelete table {family} ms1\ntable {family} ms1 {{\n")
        assert len(named) == 3


def test_an_image_is_named_by_all_that_decides_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.image_id()
    assert image.image_id() == before
    monkeypatch.setattr(image, "PACKAGES", (*image.PACKAGES, "hello"))
    assert image.image_id() != before


def test_older_images_go_once_no_host_and_no_snapshot_lies_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "BASE", tmp_path)
    monkeypatch.setattr(image, "IMAGES", tmp_path / "images")
    for name in ("of-a-host", "of-a-snapshot", "of-nobody", "newest"):
        (tmp_path / "images" / name / "root").mkdir(parents=True)
    for kind, name in (("hosts", "of-a-host"), ("snapshots", "of-a-snapshot")):
        (tmp_path / "labs/lab" / kind / "1").mkdir(parents=True)
        (tmp_path / "labs/lab" / kind / "1/image").write_text(f"{name}\n")
    image._prune("newest")
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"of-a-host", "of-a-snapshot", "newest"}
