"""The plan: pure, from what is declared, what exists and the lock."""

from pathlib import Path

import pytest

from cloud import actions as do
from cloud import apply, plan
from cloud.actual import Actual, Group, Network, Record, read
from cloud.client import Client
from cloud.declared import Site
from inventories.errors import InputError
from inventories.lock import Lock, LockedHost, load
from tests.unit.cloud_site import (
    CATALOGUE,
    DATA,
    INSIDE,
    NAMES,
    RULE,
    Change,
    actual,
    fleet,
    instance,
    lock,
    made,
    work_on,
)


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


def test_a_rule_is_never_away_for_the_sake_of_its_notes() -> None:
    noted = RULE.model_copy(update={"notes": "old words"})
    exists = actual(firewalls=(Group(id="g1", description="mainstay:s:front", rules=(noted,)),))
    found = plan.make(Site("prod.toml", fleet(), exists, lock()))
    assert plan.changes(found) == []
    assert [str(action) for action in found] == [
        "! firewall/front: tcp 80 from 0.0.0.0/0 has the notes 'old words', declared '': a rule cannot be changed"
    ]


def test_a_rule_for_a_named_source_is_not_the_one_for_everybody() -> None:
    named = RULE.model_copy(update={"source": "cloudflare"})
    lines = made(exists=actual(firewalls=(Group(id="g1", description="mainstay:s:front", rules=(named,)),)))
    assert lines == ["+ firewall/front: tcp 80 from 0.0.0.0/0", "- firewall/front: tcp 80 from cloudflare"]


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


@pytest.mark.parametrize(
    "old", [Lock(vpcs={"inside": "v1"}), lock(instance_id="i0", ipv4="192.0.2.9", ipv6="2001:db8::9")]
)
def test_a_name_points_to_where_its_host_is_whatever_the_lock_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: Lock
) -> None:
    exists = actual(records=())
    work = work_on(Site("prod.toml", fleet(), exists, old), tmp_path)
    asked: list[Change] = []
    monkeypatch.setattr(work.client, "create", lambda path, key, body, find: asked.append(body))
    monkeypatch.setattr("cloud.actual.read", lambda *_: exists)
    points = [action for action in plan.make(work.site) if isinstance(action, do.PointName)]
    assert apply.run(work, points) == []
    assert {(body["name"], body["data"]) for body in asked} == {(record.name, record.data) for record in NAMES}


def test_a_host_unknown_to_the_lock_is_not_trusted() -> None:
    (line,) = made(locked=Lock(vpcs={"inside": "v1"}, firewalls={"front": "g1"}))
    assert line.startswith("! host/web-1: instance i1 is not in the lock")


def test_what_a_killed_run_made_comes_into_the_lock() -> None:
    (line,) = made(locked=lock(volumes={}).model_copy(update={"vpcs": {}}))
    assert line == "~ lock: records host/web-1, vpc/inside"
