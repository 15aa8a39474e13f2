"""The lab's API as a client sees it: answers, pages, the rate limit, faults on demand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lab.api.cloud import LOCKED
from tests.unit.lab_api import DEBIAN, KEY, Client, serve


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


def test_answers_have_the_bare_json_content_type_and_errors_the_providers_form(api: Client) -> None:
    assert api.raw("GET", "/v2/account").headers["content-type"] == "application/json"
    refused = api.raw("GET", "/v2/account", headers={"Authorization": "Bearer wrong"})
    assert (refused.status_code, refused.json()) == (401, {"error": "Invalid API token.", "status": 401})
    assert refused.headers["content-type"] == "application/json"
    assert api("GET", "/instances/no-such") == (404, {"error": "Invalid instance ID.", "status": 404})
    assert api("GET", "/no/such/path") == (404, {"error": "Invalid API path", "status": 404})
    assert api("POST", "/instances", {"region": "ams", "plan": "vc9"})[1]["error"] == "Invalid plan chosen."
    assert api.raw("POST", "/v2/instances", headers={"Content-Type": "application/json"}, data="{").status_code == 400


def test_every_member_of_a_list_is_on_exactly_one_page(api: Client) -> None:
    made = {api("POST", "/blocks", {"region": "ams", "size_gb": 10})[1]["block"]["id"] for _ in range(5)}
    seen, cursor = [], ""
    while True:
        status, body = api("GET", f"/blocks?per_page=2&cursor={cursor}")
        assert (status, body["meta"]["total"]) == (200, 5)
        assert len(body["blocks"]) <= 2
        seen += [block["id"] for block in body["blocks"]]
        cursor = body["meta"]["links"]["next"]
        if not cursor:
            break
    assert (len(seen), set(seen)) == (5, made)
    back = api("GET", f"/blocks?per_page=2&cursor={body['meta']['links']['prev']}")[1]
    assert [block["id"] for block in back["blocks"]] == seen[2:4]
    for wrong in ("per_page=501", "per_page=0", "cursor=xyz"):
        assert api("GET", f"/blocks?{wrong}")[0] == 400


def test_pages_stay_right_when_a_member_goes_between_them(api: Client) -> None:
    made = [api("POST", "/blocks", {"region": "ams", "size_gb": 10})[1]["block"]["id"] for _ in range(4)]
    first = api("GET", "/blocks?per_page=2")[1]
    api("DELETE", f"/blocks/{made[0]}")
    second = api("GET", f"/blocks?per_page=2&cursor={first['meta']['links']['next']}")[1]
    assert [block["id"] for block in second["blocks"]] == made[2:]


def test_the_31st_request_within_a_second_is_refused_with_retry_after(tmp_path: Path) -> None:
    moment = 0.0
    with serve(tmp_path, rate_limit=30, clock=lambda: moment) as api, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {KEY}"
        answers = [session.get(f"{api.base}/v2/account", timeout=30) for _ in range(31)]
        assert [answer.status_code for answer in answers] == [200] * 30 + [429]
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].json()["status"] == 429
        moment = 1.0
        assert session.get(f"{api.base}/v2/account", timeout=30).status_code == 200


def test_a_lost_response_still_creates_the_instance_exactly_once(api: Client) -> None:
    api.fault(kind="lost_response", method="POST", path="/instances")
    with pytest.raises(requests.ConnectionError):
        api("POST", "/instances", DEBIAN | {"tags": ["once"]})
    assert api("GET", "/instances?tag=once")[1]["meta"]["total"] == 1
    assert api.raw("GET", "/lab/faults").json() == {"faults": []}


def test_request_faults_strike_as_often_as_asked_and_only_where_asked(api: Client) -> None:
    api.fault(kind="rate_limit", times=2, seconds=3)
    answers = [api.raw("GET", "/v2/os") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    api.fault(kind="locked", method="POST", path="/blocks")
    assert api("GET", "/blocks")[0] == 200
    assert api("POST", "/firewalls")[0] == 201
    assert api("POST", "/blocks", {"region": "ams", "size_gb": 10}) == (500, {"error": LOCKED, "status": 500})
    api.fault(kind="timeout", path="/account", seconds=30)
    with pytest.raises(requests.Timeout):
        requests.get(f"{api.base}/v2/account", headers={"Authorization": f"Bearer {KEY}"}, timeout=0.1)


def test_host_faults_reach_the_engine_and_are_undone(api: Client) -> None:
    api.fault(kind="never_boots", instance="a")
    other, struck = api.instance(label="b")["id"], api.instance(label="a")["id"]
    assert (api.engine.machines[other].boot, api.engine.machines[struck].boot) == ("normal", "never")
    api.fault(kind="cut", instance="b")
    assert ("cut", other, True) in api.engine.calls
    assert api.raw("DELETE", "/lab/faults").status_code == 204
    assert ("cut", other, False) in api.engine.calls
