"""Users of an account: a key of one does what its ACLs say, and nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.api.rights import ACLS, needed
from lab.api.server import FAMILIES
from lab.api.store import MAIN
from tests.unit.lab_api import DRILL_KEY, Client, serve

FORBIDDEN = (403, {"error": "You are not allowed to perform that action.", "status": 403})
UNKNOWN = (401, {"error": "Invalid API token.", "status": 401})
EVERY_CALL = [(method, path) for family in FAMILIES for method, path, _ in family.ROUTES]
PERSON = {"name": "a", "email": "a@example.org", "password": "x"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


def user(api: Client, **fields: Any) -> tuple[dict[str, Any], Client]:
    """A new user of the account whose key the client has, and a client with the user's key."""
    status, body = api("POST", "/users", PERSON | fields)
    assert status == 201, body
    return body["user"], replace(api, key=body["user"]["api_key"])


def test_a_key_for_dns_changes_records_and_no_other_call_answers_it(api: Client) -> None:
    _, dns = user(api, acls=["dns"])
    assert api("POST", "/domains", {"domain": "example.org"})[0] == 200
    name = {"type": "TXT", "name": "_acme-challenge", "data": "x", "ttl": 120}
    status, body = dns("POST", "/domains/example.org/records", name)
    assert status == 201
    assert dns("DELETE", f"/domains/example.org/records/{body['record']['id']}")[0] == 204
    assert dns("GET", "/account")[1]["account"]["acls"] == ["dns"]
    others = [(method, path) for method, path in EVERY_CALL if needed(method, path) not in ("", "dns")]
    assert len(others) > 50
    for method, path in others:
        assert dns(method, path, None if method == "GET" else {}) == FORBIDDEN, (method, path)
    assert dns.raw("GET", "/lab/faults").status_code == 401


@pytest.mark.parametrize(
    ("acl", "may", "may_not"),
    [
        ("subscriptions_view", ("GET", "/instances"), ("POST", "/instances")),
        ("provisioning", ("POST", "/instances"), ("DELETE", "/instances/x")),
        ("subscriptions", ("DELETE", "/instances/x"), ("POST", "/blocks")),
        ("firewall", ("POST", "/firewalls"), ("POST", "/domains")),
        ("manage_users", ("GET", "/users"), ("GET", "/domains")),
    ],
)
def test_each_acl_opens_its_own_calls(api: Client, acl: str, may: tuple[str, str], may_not: tuple[str, str]) -> None:
    _, limited = user(api, acls=[acl])
    assert limited(*may)[0] not in (401, 403)
    assert limited(*may_not) == FORBIDDEN


def test_an_accounts_own_key_has_every_acl(api: Client) -> None:
    assert {needed(method, path) for method, path in EVERY_CALL} - {"", *ACLS} == set()
    assert api("GET", "/account")[1]["account"]["acls"] == list(ACLS)


def test_a_key_is_shown_once_and_kept_by_its_digest(api: Client) -> None:
    made, _ = user(api)
    shown = api("GET", f"/users/{made['id']}")[1]["user"]
    assert shown == {key: value for key, value in made.items() if key != "api_key"}
    assert api("GET", "/users")[1]["users"] == [shown]
    assert made["api_key"] not in str(api.cloud.everything.all("user"))


def test_what_is_taken_from_a_user_its_key_loses_at_once(api: Client) -> None:
    made, limited = user(api, acls=["dns", "firewall"])
    path = f"/users/{made['id']}"
    assert api("PATCH", path, {"acls": ["dns"]})[0] == 204
    assert (limited("GET", "/domains")[0], limited("GET", "/firewalls")) == (200, FORBIDDEN)
    assert api("PATCH", path, {"acls": ["dns"]})[0] == 400
    assert api("PATCH", path, {"api_enabled": False})[0] == 204
    assert limited("GET", "/domains") == UNKNOWN
    assert api("PATCH", path, {"api_enabled": True})[0] == 204
    assert limited("GET", "/domains")[0] == 200
    assert api("DELETE", path)[0] == 204
    assert limited("GET", "/domains") == UNKNOWN


def test_a_users_key_is_of_its_account_alone(api: Client) -> None:
    drill = replace(api, key=DRILL_KEY)
    assert api("POST", "/domains", {"domain": "example.org"})[0] == 200
    _, limited = user(drill, acls=["dns"])
    assert limited("GET", "/domains/example.org")[0] == 404
    assert limited("POST", "/domains", {"domain": "drill.example.org"})[0] == 200
    assert [item["domain"] for item in drill("GET", "/domains")[1]["domains"]] == ["drill.example.org"]
    assert [item["id"] for item in api.cloud.everything.of(MAIN).all("domain")] == ["example.org"]


def test_what_is_no_user_is_refused(api: Client) -> None:
    user(api)
    for body, error in (
        ({}, "password is required"),
        ({"password": "x", "name": "b"}, "email is required"),
        (PERSON, "Email address is already in use."),
        (PERSON | {"email": "b@example.org", "acls": ["dns", "root"]}, "Invalid ACL: root"),
    ):
        assert api("POST", "/users", body) == (400, {"error": error, "status": 400})
