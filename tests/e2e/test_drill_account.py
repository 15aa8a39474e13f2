"""What drills made in their account: found by its marks, removed in an order that works; and what they may cost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup.drills import account, budget, own_site
from backup.drills.account import Thing
from backup.drills.own_site import Wanted
from backup.store import VAULT
from cloud import client
from cloud.client import CloudError
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from tests.unit.drill_site import DATA, DOMAIN, Cloud, drill_cloud
from tests.unit.lab_api import DEBIAN, soon

NOW = datetime(2026, 11, 26, 14, 3, tzinfo=UTC)
LATER = account.site_name("261126-1403-aaaa", NOW + timedelta(hours=6))
OTHER = account.site_name("261126-1404-bbbb", NOW + timedelta(hours=5))
KINDS = ["host", "volume", "network", "firewall", "zone"]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with drill_cloud(tmp_path, hosts=2) as made:
        yield made


def test_a_name_says_which_drill_it_is_and_until_when_it_may_live() -> None:
    assert LATER == "drill-261126-1403-aaaa-2611262003"
    assert account.drill_of(LATER) == "261126-1403-aaaa"
    assert account.expires(LATER) == NOW + timedelta(hours=6)
    assert account.drill_of("drill-261126-1403-aaaa") == account.drill_of("prod") == ""


def test_all_that_bears_a_drills_mark_is_found_and_nothing_else(cloud: Cloud) -> None:
    cloud.make(LATER)
    foreign = {"tags": ["mainstay:prod:release-1", "drill", LATER], "label": LATER}
    cloud.drills.instance(**foreign)
    for path, body in (
        ("/firewalls", {"description": LATER}),
        ("/vpcs", {"region": "ams", "description": "mainstay:prod:inside"}),
        ("/blocks", {"region": "ams", "size_gb": 10, "label": "prod/release-1/content"}),
        ("/domains", {"domain": f"{LATER}.example.net"}),
        ("/domains", {"domain": "drill-unknown." + DOMAIN}),
    ):
        assert cloud.drills("POST", path, body)[0] < 300
    found = cloud.look()
    assert [(one.kind, one.site) for one in found] == [(kind, LATER) for kind in KINDS]
    assert [one.name for one in found] == ["release-1", "release-1/content", "inside", "drill", f"{LATER}.{DOMAIN}"]
    assert [one.gb for one in found] == [0, 10, 0, 0, 0]


def test_the_sites_own_account_is_never_looked_into(cloud: Cloud) -> None:
    cloud.main.instance(tags=[f"mainstay:{LATER}:release-1"])
    assert cloud.look() == []
    assert cloud.destroy(LATER) == ([], [])
    assert len(cloud.main("GET", "/instances")[1]["instances"]) == 1


def test_a_drill_is_destroyed_whole_and_another_stays(cloud: Cloud) -> None:
    cloud.make(LATER)
    cloud.make(OTHER)
    assert cloud.destroy(LATER) == (sorted(KINDS), [])
    assert {one.site for one in cloud.look()} == {OTHER}
    assert cloud.destroy(OTHER) == (sorted(KINDS), [])
    assert cloud.look() == []
    assert cloud.main.engine.machines == {}
    assert cloud.main.engine.disks == {}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate_limit", "times": 3, "seconds": 0},
        {"kind": "locked", "times": 4, "method": "DELETE"},
        {"kind": "lost_response", "times": 4, "method": "DELETE"},
        {"kind": "timeout", "times": 2, "seconds": 0.1},
    ],
    ids=lambda fault: str(fault["kind"]),
)
def test_faults_of_the_api_do_not_keep_anything(cloud: Cloud, fault: dict[str, Any]) -> None:
    cloud.make(LATER)
    cloud.main.fault(**fault)
    assert cloud.destroy(LATER) == (sorted(KINDS), [])
    assert cloud.look() == []


def test_what_is_still_there_at_the_end_is_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.make(LATER)
    cloud.main.fault(kind="locked", method="DELETE", path="/instances", times=10_000)
    with monkeypatch.context() as impatient:
        impatient.setattr(account, "GONE_S", 0.5)
        impatient.setattr(client, "GIVE_UP_AFTER_S", 0.2)
        gone, problems = cloud.destroy(LATER)
    assert gone == ["zone"]
    left = {problem.split(" (")[0] for problem in problems if "is still there" in problem}
    assert left == {"host release-1", "volume release-1/content", "network inside", "firewall drill"}
    assert any("Server is currently locked" in problem for problem in problems)
    assert cloud.main.raw("DELETE", "/lab/faults").ok
    assert cloud.destroy(LATER)[1] == []
    assert cloud.look() == []


def test_a_provider_that_does_not_answer_is_said(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.make(LATER)

    def silent(*_: Any) -> list[Thing]:
        raise CloudError("GET /instances", 0, "no answer")

    look = account.look
    monkeypatch.setattr(account, "look", silent)
    assert cloud.destroy(LATER) == ([], ["what is left is not known: GET /instances: no answer"])
    seen = iter([look, silent])
    monkeypatch.setattr(account, "look", lambda *given: next(seen)(*given))
    gone, problems = cloud.destroy(LATER)
    assert gone == []
    assert len([problem for problem in problems if problem.endswith("is still there")]) == len(KINDS)


def test_what_comes_late_is_waited_for_when_something_may_come(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "SETTLE_S", 2)
    looks: list[int] = []
    look = account.look

    def late(*given: Any) -> list[Thing]:
        looks.append(1)
        if len(looks) == 3:
            cloud.make(LATER)
        return look(*given)

    monkeypatch.setattr(account, "look", late)
    assert cloud.destroy(LATER, unsure=True) == (sorted(KINDS), [])
    soon("it is gone", lambda: not cloud.look())


def own(cloud: Cloud, folder: Path) -> LoadedSite:
    return own_site.make(Wanted(cloud.site, LATER, VAULT, (DATA,), {"release-1": 0}), folder)


def test_a_drill_costs_what_its_host_and_volume_do(cloud: Cloud, tmp_path: Path) -> None:
    price = budget.hourly_usd(cloud.site, own(cloud, tmp_path / "own"), pytest.fail)
    plans = {plan["id"]: plan for plan in cloud.drills("GET", "/plans")[1]["plans"]}
    assert price == pytest.approx((plans[DEBIAN["plan"]]["monthly_cost"] + 10 * 0.10) / 672)


def test_a_drill_that_may_cost_too_much_is_refused(tmp_path: Path) -> None:
    with (
        drill_cloud(tmp_path, usd=0.05, hours=7) as cloud,
        pytest.raises(InputError, match=r"(?s)drill.usd.*may cost \$0.06, and no more than \$0.05 .* the 7 h"),
    ):
        budget.hourly_usd(cloud.site, own(cloud, tmp_path / "own"), pytest.fail)


def test_no_more_hosts_than_are_allowed(cloud: Cloud, tmp_path: Path) -> None:
    mine = own(cloud, tmp_path / "own")
    cloud.drills.instance(tags=[f"mainstay:{OTHER}:release-1"])
    assert budget.hourly_usd(cloud.site, mine, pytest.fail) > 0
    cloud.drills.instance(tags=[f"mainstay:{OTHER}:web-1"])
    with pytest.raises(InputError, match=r"(?s)there are 2 \(drills: 261126-1404-bbbb\).*mainstay drill sweep"):
        budget.hourly_usd(cloud.site, mine, pytest.fail)


def test_a_plan_that_is_not_sold_is_named(tmp_path: Path) -> None:
    with drill_cloud(tmp_path) as cloud:
        path = cloud.site.path
        path.write_text(path.read_text().replace("vc2-1c-1gb", "vc9-huge"))
        cloud.site = load_site(path)
        with pytest.raises(InputError, match=r"hosts.release-1.plan.*vc9-huge"):
            budget.hourly_usd(cloud.site, own(cloud, tmp_path / "own"), pytest.fail)
