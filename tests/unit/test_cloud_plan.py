"""The plan: pure, from what is declared, what exists and the lock."""

from pathlib import Path
from typing import Any

import pytest

from cloud import actions as do
from cloud import apply, plan
from cloud.actual import Actual, Block, Catalogue, Group, GroupRule, Instance, Network, Plan, Record, read
from cloud.client import Client, CloudError
from cloud.declared import PROTECTED, Site
from cloud.first_contact import Login
from cloud.switches import Switches, parse
from cloud.work import Work
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.lock import Lock, LockedHost, load

CATALOGUE = Catalogue(
    plans={"small": Plan(id="small", monthly_cost=5, locations=("ams",)), "big": Plan(id="big", monthly_cost=40)},
    regions=frozenset({"ams", "ewr"}),
    systems={"Debian 13 x64 (trixie)": 2625, "Debian 12 x64 (bookworm)": 2136},
)
KEY = "ssh-ed25519 AAAApinned"
Change = dict[str, Any]


def fleet(**host: Any) -> Fleet:
    declared = {
        "role": "web",
        "plan": "small",
        "region": "ams",
        "firewall": "front",
        "vpcs": ["inside"],
        "volumes": {"data": {"size_gb": 20, "mount": "/srv"}},
        "dns": ["www.example.org"],
    }
    return Fleet.model_validate(
        {
            "site": {"name": "s", "domain": "example.org"},
            "vpcs": {"inside": {"region": "ams", "subnet": "10.1.0.0/24"}},
            "firewalls": {"front": {"rules": [{"protocol": "tcp", "port": "80", "sources": ["0.0.0.0/0"]}]}},
            "hosts": {"web-1": declared | host},
        }
    )


def instance(**change: Any) -> Instance:
    """web-1 as declared."""
    as_declared: Change = {
        "id": "i1",
        "label": "web-1",
        "hostname": "web-1",
        "region": "ams",
        "plan": "small",
        "os_id": 2625,
        "os": "Debian 13 x64 (trixie)",
        "tags": ("mainstay:s:web-1", "role:web"),
        "firewall_group_id": "g1",
        "main_ip": "192.0.2.1",
        "v6_main_ip": "2001:db8::1",
        "vpcs": {"v1": "10.1.0.3"},
    }
    return Instance.model_validate(as_declared | change)


DATA = Block(id="b1", label="s/web-1/data", region="ams", size_gb=20, attached_to_instance="i1", mount_id="ams-1")
INSIDE = Network(id="v1", description="mainstay:s:inside", region="ams", v4_subnet="10.1.0.0", v4_subnet_mask=24)
RULE = GroupRule(id=1, ip_type="v4", protocol="tcp", port="80", subnet="0.0.0.0", subnet_size=0)
NAMES = tuple(
    Record(id=f"{name}-{kind}", name=name, type=kind, data=data)
    for name in ("web-1", "www")
    for kind, data in (("A", "192.0.2.1"), ("AAAA", "2001:db8::1"))
)


def actual(**change: Any) -> Actual:
    """Everything as `fleet()` declares it."""
    return Actual.model_validate(
        {
            "catalogue": CATALOGUE,
            "instances": (instance(),),
            "blocks": (DATA,),
            "vpcs": (INSIDE,),
            "firewalls": (Group(id="g1", description="mainstay:s:front", rules=(RULE,)),),
            "domain": True,
            "records": NAMES,
        }
        | change
    )


def lock(**change: Any) -> Lock:
    host: Change = {
        "instance_id": "i1",
        "ipv4": "192.0.2.1",
        "ipv6": "2001:db8::1",
        "vpc_ipv4": {"inside": "10.1.0.3"},
        "host_keys": (KEY,),
        "volumes": {"data": {"id": "b1", "disk": "virtio-ams-1"}},
    }
    hosts = {"web-1": LockedHost.model_validate(host | change)}
    return Lock(hosts=hosts, vpcs={"inside": "v1"}, firewalls={"front": "g1"})


def made(
    declared: Fleet | None = None, exists: Actual | None = None, locked: Lock | None = None, **switches: str
) -> list[str]:
    """The plan's lines."""
    site = Site("prod.toml", declared or fleet(), exists or actual(), locked or lock(), parse(switches, "prod.toml"))
    return [str(action) for action in plan.make(site)]


def work_on(site: Site, folder: Path) -> Work:
    """A run on it; the provider is out of reach."""
    return Work(site, Client("http://api.invalid", "key"), folder / "lock.json", Login("a", None), lambda role: [])


def undeclared(declared: Fleet) -> Fleet:
    """The same fleet without web-1 (a fleet may have no hosts while one is being replaced)."""
    return declared.model_copy(update={"hosts": {}})


def test_what_is_as_declared_is_left_alone() -> None:
    assert made() == []


def test_everything_missing_is_created_and_first_contact_follows_each_host() -> None:
    lines = made(exists=Actual(catalogue=CATALOGUE), locked=Lock())
    assert [line for line in lines if "record" not in line] == [
        "+ vpc/inside: 10.1.0.0/24 in ams",
        "+ firewall/front",
        "+ firewall/front: tcp 80 from 0.0.0.0/0",
        "+ host/web-1: small in ams, Debian 13 x64 (trixie), $5.00 a month",
        "~ host/web-1: first contact: host key made there and pinned",
        "+ volume/web-1/data: 20 GB",
        "~ volume/web-1/data: attached to web-1",
        "+ domain/example.org",
    ]
    assert {line for line in lines if "record" in line} == {
        f"+ record/{name}: {kind} to web-1" for name in ("web-1", "www") for kind in ("A", "AAAA")
    }


def test_an_interrupted_creation_is_looked_for_before_another_is_asked_for() -> None:
    pending = Lock(hosts={"web-1": LockedHost(instance_id="", ipv4="", first_contact_key="ssh-ed25519 AAAAtemp")})
    site = Site("prod.toml", fleet(), Actual(catalogue=CATALOGUE), pending)
    creation = next(action for action in plan.make(site) if isinstance(action, do.CreateHost))
    assert creation.doubtful


def test_an_interrupted_first_contact_is_finished() -> None:
    lines = made(locked=lock(first_contact_key="ssh-ed25519 AAAAtemp"))
    assert lines == ["~ host/web-1: first contact: host key made there and pinned"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"label": "x"}, "~ host/web-1: label"),
        ({"tags": ("mainstay:s:web-1",)}, "~ host/web-1: tags"),
        ({"firewall_group_id": ""}, "~ host/web-1: firewall"),
        ({"features": ("auto_backups",)}, "~ host/web-1: backups"),
    ],
)
def test_drift_that_the_provider_can_change_is_changed(change: Change, line: str) -> None:
    assert made(exists=actual(instances=(instance(**change),))) == [line]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"region": "ewr"}, "region is 'ewr', declared 'ams'"),
        ({"os_id": 2136, "os": "Debian 12"}, "os is 'Debian 12', declared 'Debian 13 x64 (trixie)'"),
        ({"plan": "big"}, "plan is 'big', declared 'small'"),
    ],
)
def test_drift_that_cannot_be_changed_is_told_and_nothing_done(change: Change, line: str) -> None:
    site = Site("prod.toml", fleet(), actual(instances=(instance(**change),)), lock())
    found = plan.make(site)
    assert plan.changes(found) == []
    assert line in str(found[0])
    assert str(found[0]).startswith("! host/web-1")


def test_a_plan_is_changed_only_by_the_switch_that_names_the_host() -> None:
    lines = made(exists=actual(instances=(instance(plan="big"),)), resize="host/web-1")
    assert lines == ["~ host/web-1: plan"]


def test_a_stale_rule_goes_only_after_the_new_one_is_there() -> None:
    old = RULE.model_copy(update={"id": 7, "port": "8080"})
    lines = made(exists=actual(firewalls=(Group(id="g1", description="mainstay:s:front", rules=(old,)),)))
    assert lines == ["+ firewall/front: tcp 80 from 0.0.0.0/0", "- firewall/front: tcp 8080 from 0.0.0.0/0"]


def test_a_rule_with_other_notes_is_put_in_its_own_place() -> None:
    noted = RULE.model_copy(update={"notes": "old words"})
    lines = made(exists=actual(firewalls=(Group(id="g1", description="mainstay:s:front", rules=(noted,)),)))
    assert lines == ["~ firewall/front: tcp 80 from 0.0.0.0/0, for its notes"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"instances": (instance(tags=()),)}, "~ host/web-1: tags"),
        ({"instances": (instance(tags=("mainstay:s:web-2", "role:web")),)}, "~ host/web-1: tags"),
        ({"blocks": (DATA.model_copy(update={"label": "renamed"}),)}, "~ volume/web-1/data: label"),
        ({"blocks": (DATA.model_copy(update={"label": "s/web-2/data"}),)}, "~ volume/web-1/data: label"),
        ({"vpcs": (INSIDE.model_copy(update={"description": ""}),)}, "~ vpc/inside: description"),
        ({"firewalls": (Group(id="g1", description="x", rules=(RULE,)),)}, "~ firewall/front: description"),
    ],
)
def test_what_lost_its_mark_is_known_by_the_lock_and_marked_again(change: Change, line: str) -> None:
    assert made(exists=actual(**change)) == [line]


def test_what_lost_its_mark_stays_in_the_lock() -> None:
    bare = actual(
        instances=(instance(tags=()),),
        blocks=(DATA.model_copy(update={"label": ""}),),
        vpcs=(INSIDE.model_copy(update={"description": ""}),),
        firewalls=(Group(id="g1", rules=(RULE,)),),
    )
    assert plan.remembered(Site("prod.toml", fleet(), bare, lock())) == lock()


def test_a_second_thing_with_the_mark_of_a_locked_one_stops_everything() -> None:
    with pytest.raises(InputError, match=r"hosts\.web-1: exists more than once: i1, i2"):
        made(exists=actual(instances=(instance(tags=()), instance(id="i2"))))


def test_of_the_account_what_the_lock_knows_is_the_sites_too(monkeypatch: pytest.MonkeyPatch) -> None:
    lists: dict[str, list[Change]] = {
        "/plans": [],
        "/regions": [],
        "/os": [],
        "/domains/example.org/records": [],
        "/instances": [instance(id=i, tags=()).model_dump() for i in ("i1", "i2")],
        "/instances/i1/vpcs": [{"id": "v1", "ip_address": "10.1.0.3"}],
        "/blocks": [DATA.model_copy(update={"id": i, "label": ""}).model_dump() for i in ("b1", "b2")],
        "/vpcs": [INSIDE.model_copy(update={"id": i, "description": ""}).model_dump() for i in ("v1", "v2")],
        "/firewalls": [{"id": "g1"}, {"id": "g2"}],
        "/firewalls/g1/rules": [RULE.model_dump()],
    }
    client = Client("http://api.invalid", "key")
    monkeypatch.setattr(client, "list", lambda path, key: lists[path])
    seen = read(client, fleet(), lock())
    assert ([i.id for i in seen.instances], [b.id for b in seen.blocks]) == (["i1"], ["b1"])
    assert ([v.id for v in seen.vpcs], [g.id for g in seen.firewalls]) == (["v1"], ["g1"])
    assert (seen.instances[0].vpcs, seen.firewalls[0].rules) == ({"v1": "10.1.0.3"}, (RULE,))


def test_vpcs_are_joined_and_left() -> None:
    other = Network(id="v2", description="other", region="ams", v4_subnet="10.2.0.0", v4_subnet_mask=24)
    exists = actual(instances=(instance(vpcs={other.id: "10.2.0.3"}),))
    assert made(exists=exists, locked=lock(vpc_ipv4={"v2": "10.2.0.3"})) == [
        "~ host/web-1: joins VPC inside",
        "~ host/web-1: leaves VPC v2",
    ]


def test_a_volume_grows_and_never_shrinks() -> None:
    small, large = (DATA.model_copy(update={"size_gb": size}) for size in (10, 40))
    assert made(exists=actual(blocks=(small,))) == ["~ volume/web-1/data: grown to 20 GB"]
    (line,) = made(exists=actual(blocks=(large,)))
    assert line.startswith("! volume/web-1/data: has 40 GB")


def test_a_volume_of_another_type_is_told() -> None:
    slow = DATA.model_copy(update={"block_type": "storage_opt"})
    (line,) = made(exists=actual(blocks=(slow,)))
    assert line == "! volume/web-1/data: is of type 'storage_opt', declared 'high_perf': copy its data over"


def test_a_volume_is_attached_again_after_its_host_was_lost() -> None:
    lines = made(exists=actual(instances=()), locked=lock())
    assert "~ volume/web-1/data: attached to web-1" in lines
    assert not any(line.startswith("+ volume") for line in lines)


def test_a_lost_hosts_volumes_stay_in_the_lock_while_it_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work = work_on(Site("prod.toml", fleet(), actual(instances=()), lock()), tmp_path)
    monkeypatch.setattr(work.client, "create", lambda *request: {"id": "i2"})
    apply.STEPS[do.CreateHost](work, do.CreateHost("web-1", "", 5, doubtful=False))
    made_again = load(tmp_path / "lock.json").hosts["web-1"]
    assert (made_again.instance_id, made_again.volumes) == ("i2", lock().hosts["web-1"].volumes)
    assert (made_again.ipv4, made_again.host_keys) == ("", ())


def test_a_name_points_to_its_hosts_and_to_nothing_else() -> None:
    stray = Record(id="r9", name="www", type="A", data="203.0.113.9")
    mail = Record(id="r8", name="", type="MX", data="mail.example.org")
    assert made(exists=actual(records=(*NAMES, stray, mail))) == ["- record/www: A 203.0.113.9"]


def test_a_host_unknown_to_the_lock_is_not_trusted() -> None:
    (line,) = made(locked=Lock(vpcs={"inside": "v1"}, firewalls={"front": "g1"}))
    assert line.startswith("! host/web-1: instance i1 is not in the lock")


def test_what_a_killed_run_made_comes_into_the_lock() -> None:
    (line,) = made(locked=lock(volumes={}).model_copy(update={"vpcs": {}}))
    assert line == "~ lock: records host/web-1, vpc/inside"


def test_undeclared_things_are_listed_and_kept() -> None:
    site = Site("prod.toml", undeclared(fleet()), actual(), lock())
    found = plan.make(site)
    assert plan.changes(found) == []
    assert {action.thing for action in found} == {"host/web-1", "volume/web-1/data"}


def test_a_host_goes_only_when_each_of_its_volumes_is_named_too() -> None:
    with pytest.raises(InputError, match="holds volume/web-1/data"):
        made(undeclared(fleet()), remove="host/web-1")
    kept = made(undeclared(fleet()), remove="host/web-1", detach="volume/web-1/data")
    assert "- host/web-1" in kept
    assert "~ volume/web-1/data: detached, its data stays" in kept
    assert not any(line.startswith("- volume") for line in kept)
    gone = made(undeclared(fleet()), remove="host/web-1,volume/web-1/data")
    assert gone[-2:] == ["- host/web-1", "- volume/web-1/data: with its data"]


def test_a_host_takes_its_records_along() -> None:
    lines = made(undeclared(fleet()), remove="host/web-1,volume/web-1/data")
    assert [line for line in lines if "record" in line] == [f"- record/{r.name}: {r.type} {r.data}" for r in NAMES]


def test_the_records_of_a_host_that_is_gone_can_be_removed() -> None:
    gone, alias = undeclared(fleet()), Record(id="r9", name="old", type="A", data="192.0.2.1")
    exists = actual(instances=(), blocks=(), records=(NAMES[0], alias))
    assert {line for line in made(gone, exists) if line.startswith("? record")} == {
        f"? record/{name}: not declared, kept; to remove it: --data remove=record/{name}" for name in ("web-1", "old")
    }
    assert "- record/old: A 192.0.2.1" in made(gone, exists, remove="record/old")
    assert plan.remembered(Site("prod.toml", gone, exists, lock())).hosts == lock().hosts
    assert plan.remembered(Site("prod.toml", gone, actual(instances=(), records=()), lock())).hosts == lock().hosts
    nothing = actual(instances=(), blocks=(), records=())
    assert plan.remembered(Site("prod.toml", gone, nothing, lock())).hosts == {}


def test_nothing_more_is_removed_after_a_removal_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun: list[str] = []

    def step(work: Work, action: do.Action) -> None:
        begun.append(str(action))
        if isinstance(action, do.DetachVolume):
            raise CloudError(action.thing, 500, "no")

    monkeypatch.setattr(apply, "STEPS", dict.fromkeys(apply.STEPS, step))
    removals = parse({"remove": "host/web-1", "detach": "volume/web-1/data"}, "prod.toml")
    work = work_on(Site("prod.toml", undeclared(fleet()), actual(records=()), lock(), removals), tmp_path)
    assert apply.run(work, plan.changes(plan.make(work.site))) == ["volume/web-1/data: volume/web-1/data: 500 no"]
    assert begun == ["~ volume/web-1/data: detached, its data stays"]


def test_a_host_whose_tags_were_changed_may_be_protected() -> None:
    bare = actual(instances=(instance(tags=()),))
    with pytest.raises(InputError, match="its tags were changed"):
        made(undeclared(fleet()), bare, remove="host/web-1,volume/web-1/data")


def test_a_protected_host_is_not_removed_even_when_named() -> None:
    protected = instance(tags=("mainstay:s:web-1", "role:web", PROTECTED))
    with pytest.raises(InputError, match="it is protected"):
        made(undeclared(fleet()), actual(instances=(protected,)), remove="host/web-1,volume/web-1/data")


def test_a_volume_in_use_is_not_removed() -> None:
    with pytest.raises(InputError, match="attached to web-1"):
        made(fleet(volumes={}), remove="volume/web-1/data")


@pytest.mark.parametrize("thing", ["host/web-1", "volume/web-1/data", "vpc/inside", "firewall/front", "record/www"])
def test_what_is_declared_cannot_be_removed(thing: str) -> None:
    with pytest.raises(InputError, match="still declared"):
        made(remove=thing)


@pytest.mark.parametrize("thing", ["host/nobody", "volume/web-1/nothing", "vpc/none"])
def test_what_does_not_exist_cannot_be_removed(thing: str) -> None:
    with pytest.raises(InputError, match="no such thing"):
        made(remove=thing)


@pytest.mark.parametrize("thing", ["web-1", "volume/data", "domain/example.org", "host/", "host/a/b"])
def test_a_switch_that_cannot_be_read_is_an_error(thing: str) -> None:
    with pytest.raises(InputError, match="it takes: host/NAME, volume/HOST/NAME"):
        parse({"remove": thing}, "prod.toml")


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"plan": "smal"}, "hosts.web-1.plan", "no plan 'smal'\n  it has: small"),
        ({"region": "mars", "vpcs": []}, "hosts.web-1.region", "no region 'mars'"),
        ({"os": "Debian 13"}, "hosts.web-1.os", "no operating system 'Debian 13'\n  it has: Debian 13 x64"),
        ({"region": "ewr", "vpcs": []}, "hosts.web-1.plan", "not sold in 'ewr'\n  it is sold in: ams"),
    ],
)
def test_what_the_provider_does_not_sell_is_one_clear_error(change: Change, field: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        made(fleet(**change), Actual(catalogue=CATALOGUE), Lock())
    assert str(error.value).startswith(f"prod.toml: {field}: ")
    assert problem in str(error.value)


def test_two_things_with_one_mark_stop_everything() -> None:
    with pytest.raises(InputError, match=r"hosts\.web-1: exists more than once: i1, i2"):
        made(exists=actual(instances=(instance(), instance(id="i2"))))


def test_reinstalling_needs_the_switch_and_ends_in_a_first_contact() -> None:
    assert made(reinstall="host/web-1") == [
        "~ host/web-1: reinstalled: its root disk is lost, its volumes stay",
        "~ host/web-1: first contact: host key made there and pinned",
    ]
    with pytest.raises(InputError, match="protected"):
        made(fleet(protected=True), reinstall="host/web-1")


@pytest.mark.parametrize("switch", ["reinstall", "resize"])
def test_a_switch_that_names_no_declared_host_is_an_error(switch: str) -> None:
    site = Site("prod.toml", fleet(), actual(), lock(), parse({switch: "host/web-2"}, "prod.toml"))
    with pytest.raises(InputError, match=f"--data {switch}=host/web-2: no such host is declared\n  .*web-1"):
        plan.make(site)


def test_a_volume_is_removed_or_detached_and_not_both() -> None:
    with pytest.raises(InputError, match="volume/s/data: is in --data detach= too"):
        parse({"remove": "volume/s/data", "detach": "volume/s/data"}, "prod.toml")


def test_no_switch_is_no_switch() -> None:
    assert parse({"remove": None, "unrelated": "x"}, "prod.toml") == Switches()
