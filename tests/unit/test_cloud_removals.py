"""What a plan removes, and what it refuses to: pure, as the rest of it."""

from pathlib import Path

import pytest

from cloud import actions as do
from cloud import apply, plan
from cloud.actual import Actual, Record
from cloud.client import CloudError
from cloud.declared import PROTECTED, Site
from cloud.switches import Switches, parse
from cloud.work import Work
from inventories.errors import InputError
from inventories.lock import Lock
from tests.unit.cloud_site import (
    CATALOGUE,
    DATA,
    NAMES,
    Change,
    actual,
    fleet,
    instance,
    lock,
    made,
    undeclared,
    work_on,
)


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


@pytest.mark.parametrize(("instance_id", "name"), [("i1", "web-1"), ("foreign", "instance foreign")])
def test_a_volume_in_use_is_not_removed(instance_id: str, name: str) -> None:
    used = actual(blocks=(DATA.model_copy(update={"attached_to_instance": instance_id}),))
    with pytest.raises(InputError, match=f"attached to {name}"):
        made(fleet(volumes={}), used, remove="volume/web-1/data")


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


def test_a_site_is_not_made_again_in_another_account() -> None:
    with pytest.raises(
        InputError, match=r"prod\.toml: provider\.api_key: nothing .* lock\.json knows is in this account"
    ):
        made(exists=Actual(catalogue=CATALOGUE))


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
    assert parse({"remove": "", "ssh_user": "alice", "_sudo": False}, "prod.toml") == Switches()


def test_a_switch_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"prod\.toml: --data remov: no such switch\n  there are: remove, detach, resize"
    ):
        parse({"remov": "host/web-1"}, "prod.toml")
