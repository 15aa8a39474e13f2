"""How people log in to Gerrit, by passwords that nginx checks and by a directory; and nobody as its administrator."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import tomlkit

from cloud.converge import converge
from inventories import by_name, trusted
from inventories.editing import Plain, apply
from inventories.inventory import load_site
from roles.gerrit import secure
from tests import directory
from tests.gerrit_site import HOST, NAME, gerrit_site
from tests.roles.web_client import clients
from tests.saved_site import Saved

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
SITE = "/srv/gerrit/site"
ALICE = "in wonder:land"
ALICE_HASHED = (
    "$6$hutoQhiVcY/8ox0n$uXOa3zdUoIlF8P9qGAijPuUC436.1qgqDwQne72A06yTh5RcCdRIpBFsYAArLARlQdC9H8FatCjhfmyCAkN8U1"
)
HTTP = {
    "type": "http",
    "passwords": "gerrit_passwords",
    "people": {"alice": {"name": "Älice L.", "email": "alice@example.org"}},
}
LDAP = {
    "type": "ldap",
    "server": f"ldaps://{directory.NAME}",
    "username": directory.SEARCHER,
    "password": "gerrit_directory",
    "account_base": directory.PEOPLE,
    "group_base": directory.GROUPS,
    "group_members": "(member=${dn})",
}


@dataclass(frozen=True)
class Somebody:
    """A browser, or a program with a login."""

    site: Saved
    session: requests.Session
    family: str = "IPv4"

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        url = f"https://{clients(load_site(self.site.inventory), HOST)[self.family].host}{path}"
        return self.session.request(method, url, timeout=30, allow_redirects=False, **more)

    def told(self, path: str, status: int = 200) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == status, (path, answer.text)
        return json.loads(answer.text.removeprefix(")]}'")) if status == 200 else None

    @property
    def logged_in(self) -> bool:
        return "GerritAccount" in self.session.cookies


@pytest.fixture(scope="module")
def gerrit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    for made in gerrit_site(tmp_path_factory.mktemp("gerrit")):
        site = load_site(made.inventory)
        values = {"gerrit_passwords": f"alice:{ALICE_HASHED}\n", "gerrit_directory": directory.PASSWORD}
        added = {name: Plain(value, ()) for name, value in values.items()}
        apply(site.secrets.path, site.secrets.entries, added, site.readers)
        log_in_by(made, HTTP)
        yield made


def log_in_by(gerrit: Saved, auth: dict[str, Any]) -> None:
    file = gerrit.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(file.read_text())
    document["settings"]["gerrit"]["auth"] = auth
    file.write_text(tomlkit.dumps(document))
    gerrit.deploy("gerrit")


def browser(gerrit: Saved, family: str = "IPv4") -> Somebody:
    return Somebody(gerrit, by_name.session(NAME, trusted.context(load_site(gerrit.inventory).files)), family)


def administrator(gerrit: Saved) -> Somebody:
    found = browser(gerrit)
    login = f"{secure.ACCOUNT}:{secure.token(load_site(gerrit.inventory)).get_secret_value()}"
    found.session.headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    return found


def by_password(gerrit: Saved, name: str, password: str) -> Somebody:
    """Who gave these to nginx."""
    found = browser(gerrit)
    found.ask("GET", "/login/", headers=basic(name, password))
    return found


def by_form(gerrit: Saved, name: str, password: str) -> Somebody:
    """Who gave these to Gerrit."""
    found = browser(gerrit)
    found.ask("POST", "/login/", data={"username": name, "password": password})
    return found


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_nginx_asks_for_a_password_where_one_logs_in_and_nowhere_else(gerrit: Saved) -> None:
    stranger = browser(gerrit)
    for path in ("/login/", "/login", "/login/%23%2F", "/login;x", "//login/"):
        answer = stranger.ask("GET", path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="Gerrit"'), path
    assert stranger.ask("GET", "/config/server/version").status_code == 200
    assert stranger.ask("GET", "/a/accounts/self").headers["WWW-Authenticate"] == 'Basic realm="Gerrit Code Review"'
    assert stranger.ask("GET", "/a/accounts/self", headers=basic("alice", ALICE)).status_code == 401
    assert not by_password(gerrit, "alice", "another").logged_in
    assert not by_password(gerrit, "bob", ALICE).logged_in

    alice = by_password(gerrit, "alice", ALICE)
    told = alice.told("/accounts/self/detail")
    assert (told["username"], told["name"], told["email"]) == ("alice", "Älice L.", "alice@example.org")
    assert alice.told("/accounts/self/capabilities").get("administrateServer") is None


def test_who_logs_out_is_nobody_again(gerrit: Saved) -> None:
    alice = by_password(gerrit, "alice", ALICE)
    before = dict(alice.session.cookies)
    answer = alice.ask("GET", "/logout")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"https://{NAME}/q/status:open")
    alice.session.cookies.update(before)
    alice.told("/accounts/self", status=403)


def test_guesses_are_few(gerrit: Saved) -> None:
    guesser = browser(gerrit, "IPv6")
    found = [guesser.ask("GET", "/login/", headers=basic("alice", str(one))).status_code for one in range(40)]
    assert found[0] == 401
    assert found[-1] == 429
    assert found.count(401) < 30
    assert by_password(gerrit, "alice", ALICE).logged_in, "who comes from elsewhere is not kept out"


def test_an_account_that_was_made_before_is_nobodys_login(gerrit: Saved) -> None:
    made = administrator(gerrit).ask("PUT", "/a/accounts/dora", json={"name": "Dora"})
    assert made.status_code == 201, made.text
    header = secure.header(secure.token(load_site(gerrit.inventory))).get_secret_value()
    for name in ("dora", secure.ACCOUNT):
        told = gerrit.root(HOST, f"curl -s -o /dev/null -D - -H '{header}: {name}' http://127.0.0.1:8081/login/")
        assert told.startswith("HTTP/1.1 403"), told


@pytest.mark.full
def test_in_a_directory_people_have_the_accounts_that_they_had(gerrit: Saved) -> None:
    account = by_password(gerrit, "alice", ALICE).told("/accounts/self/detail")["_account_id"]
    passwords = {"alice": "of the directory", "bob": "of bob", secure.ACCOUNT: "of no person"}
    pem = directory.start(gerrit, HOST, passwords, developers=("alice",))
    log_in_by(gerrit, LDAP)
    assert not by_form(gerrit, "alice", passwords["alice"]).logged_in, "its certificate is of nobody whom we trust"

    directory.trust(gerrit, HOST, pem)
    gerrit.root(HOST, f"rm {SITE}/etc/mainstay.token; systemctl restart gerrit")
    alice, bob = (by_form(gerrit, name, passwords[name]) for name in ("alice", "bob"))
    assert alice.told("/accounts/self/detail")["_account_id"] == account
    assert bob.told("/accounts/self/detail")["name"] == "Bob of the directory"
    for name, password in (("alice", ALICE), ("alice", ""), ("alice*", passwords["alice"])):
        assert not by_form(gerrit, name, password).logged_in
    assert not by_form(gerrit, secure.ACCOUNT, passwords[secure.ACCOUNT]).logged_in
    assert administrator(gerrit).told("/a/accounts/self")["username"] == secure.ACCOUNT

    admin = administrator(gerrit)
    assert admin.ask("PUT", "/a/groups/reviewers", json={}).status_code == 201
    assert admin.ask("POST", "/a/groups/reviewers/groups.add", json={"groups": ["ldap/developers"]}).status_code == 200
    groups = [{one["name"] for one in who.told("/accounts/self/groups")} for who in (alice, bob)]
    assert [{"reviewers", "ldap/developers"} <= one for one in groups] == [True, False], groups

    again = converge(gerrit.inventory, "gerrit")
    assert (again.code, again.changed) == (0, ()), again.output
    assert directory.PASSWORD not in gerrit.root(HOST, f"cat {SITE}/etc/gerrit.config")
