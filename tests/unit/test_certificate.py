"""What is wanted of a web server's certificate, and when the host's program finds that another is due."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from inventories.lock import Lock, LockedHost, save
from roles.common import nginx
from roles.common.nginx import certificate
from roles.common.nginx.certificate import Certificate
from roles.common.nginx.tree.usr.local.lib.mainstay import dns_challenge
from roles.common.nginx.tree.usr.local.lib.mainstay.certificate import (
    ITSELF,
    Held,
    Plan,
    due,
    look,
    reason,
    self_signed,
)
from roles.common.nginx.tree.usr.local.lib.mainstay.dns_challenge import Failure, Zone, label
from roles.release.settings import Settings

HOST: dict[str, Any] = {
    "role": "release",
    "plan": "small",
    "region": "ams",
    "volumes": {"content": {"size_gb": 10, "mount": "/srv/release"}},
}
NAMES = ("a.example.org", "b.example.org")
NOW = datetime(2026, 11, 26, tzinfo=UTC)
PLAN = Plan(NAMES, "http-01", certificate.LETS_ENCRYPT, "")
HELD = Held(frozenset(NAMES), NOW - timedelta(days=30), NOW + timedelta(days=60), PLAN.directory, trusted=True)


def site(folder: Path, challenge: Mapping[str, str] = {}, **dns: list[str]) -> LoadedSite:
    """Each host with its names, all of them provisioned. challenge: of hosts that have another than the default."""
    hosts = {}
    for name, names in dns.items():
        own = {"certificate": {"challenge": challenge[name]}} if name in challenge else {}
        hosts[name.replace("_", "-")] = HOST | {"dns": names, "settings": {"release": own}}
    fleet = Fleet.model_validate({"site": {"name": "s", "domain": "example.org"}, "hosts": hosts})
    loaded = LoadedSite(folder / "s.toml", fleet)
    locked = {name: LockedHost(instance_id=name, ipv4=f"192.0.2.{number}") for number, name in enumerate(hosts, 1)}
    save(loaded.lock_path, Lock(hosts=locked))
    return loaded


@pytest.mark.parametrize(
    "bad",
    [
        {"challenge": "dns-01"},
        {"challenge": "tls-alpn-01"},
        {"dns_key": "acme_dns_key"},
        {"challenge": "none", "dns_api_url": "https://api.example.org/v2"},
        {"directory": "http://acme.example.org/directory"},
        {"email": "nobody"},
    ],
    ids=str,
)
def test_a_certificate_that_cannot_be_meant_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Certificate.model_validate(bad)


def test_a_host_without_names_gets_no_certificate_of_an_authority_but_may_sign_its_own(tmp_path: Path) -> None:
    loaded = site(tmp_path, release_1=[])
    with pytest.raises(InputError, match=r"hosts\.release-1\.dns: no name"):
        certificate.check(loaded, "release-1", Certificate())
    certificate.check(loaded, "release-1", Certificate(challenge="none"))
    assert certificate.names(loaded, "release-1") == ("release-1.example.org",)


def test_a_hosts_key_to_dns_is_never_the_sites_own(tmp_path: Path) -> None:
    loaded = site(tmp_path, release_1=["release.example.org"])
    with pytest.raises(InputError, match="root on this host could delete every other"):
        certificate.check(loaded, "release-1", Certificate(challenge="dns-01", dns_key="vultr_api_key"))


def test_peers_are_the_provisioned_hosts_that_share_a_name(tmp_path: Path) -> None:
    shared = "release.example.org"
    loaded = site(tmp_path, one=[shared], two=[shared, "two.example.org"], three=[shared], other=["www.example.org"])
    save(loaded.lock_path, Lock(hosts={name: host for name, host in loaded.lock.hosts.items() if name != "three"}))
    assert certificate.peers(loaded, "one") == ["192.0.2.2"]
    assert certificate.peers(loaded, "other") == []
    assert "server 192.0.2.2:80" in nginx.files(loaded, "one", Settings(), ("GET",), ())["/etc/nginx/cleartext.conf"]
    assert "peers" not in nginx.files(loaded, "other", Settings(), ("GET",), ())["/etc/nginx/cleartext.conf"]


def test_a_host_answers_for_others_by_the_challenge_that_they_have_whatever_its_own_is(tmp_path: Path) -> None:
    shared = "release.example.org"
    loaded = site(tmp_path, {"two": "none"}, one=[shared], two=[shared])
    assert [certificate.peers(loaded, name) for name in ("one", "two")] == [[], ["192.0.2.1"]]


def test_what_another_challenge_left_is_taken_away(tmp_path: Path) -> None:
    loaded = site(tmp_path, release_1=["release.example.org"])
    (loaded.files / "acme.pem").write_text("PEM")
    assert f"{certificate.PLAN}/acme.pem" in certificate.files(loaded, "release-1", Certificate())
    assert {certificate.DNS, f"{certificate.PLAN}/roots.pem"} <= {*certificate.absent(loaded, Certificate())}
    assert f"{certificate.PLAN}/acme.pem" in certificate.absent(loaded, Certificate(challenge="none"))


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (HELD, ""),
        (None, "there is none"),
        (replace(HELD, issuer=ITSELF), "issued by itself"),
        (replace(HELD, issuer=""), "issued by nobody known"),
        (replace(HELD, issuer="https://staging.example.org/dir"), "issued by https://staging.example.org/dir"),
        (replace(HELD, names=frozenset(NAMES[:1])), "is for a.example.org, not for a.example.org, b.example.org"),
        (replace(HELD, names=frozenset((*NAMES, "c.example.org"))), "c.example.org, not for"),
        (replace(HELD, trusted=False), "no longer trusted"),
        (replace(HELD, begins=NOW - timedelta(days=60), ends=NOW + timedelta(days=30, minutes=1)), ""),
        (replace(HELD, begins=NOW - timedelta(days=60), ends=NOW + timedelta(days=29)), "it ends on 2026-12-25"),
        (replace(HELD, begins=NOW - timedelta(days=5), ends=NOW + timedelta(days=1)), "it ends on 2026-11-27"),
        (replace(HELD, ends=NOW - timedelta(days=1)), "it ended on 2026-11-25"),
    ],
)
def test_a_certificate_is_due_when_there_is_no_other_that_will_do(held: Held | None, why: str) -> None:
    found = due(PLAN, held, NOW)
    assert why in found
    assert bool(found) == bool(why)


def test_a_self_signed_certificate_is_due_by_its_own_rules() -> None:
    own = Plan(NAMES, "none", certificate.LETS_ENCRYPT, "")
    assert due(own, replace(HELD, issuer=ITSELF, trusted=False), NOW) == ""
    assert "issued by https" in due(own, HELD, NOW)


def test_what_the_host_signs_is_read_as_it_was_meant_and_another_key_is_noticed(tmp_path: Path) -> None:
    own = Plan(NAMES, "none", "", "")
    path, other = tmp_path / "site.pem", tmp_path / "other.pem"
    path.write_text(self_signed(own))
    held = look(path)
    assert held
    assert (held.names, held.issuer) == (frozenset(NAMES), ITSELF)
    assert due(own, held, datetime.now(UTC)) == ""
    key = self_signed(own).partition("-----BEGIN CERTIFICATE")[0]
    other.write_text(key + "".join(path.read_text().partition("-----BEGIN CERTIFICATE")[1:]))
    assert look(other) is None
    other.write_text(path.read_text()[:-200])
    assert look(other) is None


CERTBOT = """\
Saving debug log to /var/lib/mainstay/tls/acme/log/letsencrypt.log
Account registered.
Requesting a certificate for a.example.org and b.example.org
{}
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /log.
"""
"""What certbot 4.0 says, around why."""
REFUSED = 'Order included an identifier for which issuance is forbidden by policy: "a.example.org"'
UNREACHED = "ValueError: Requesting 10.68.0.1/dir: Connection refused"
UNSEEN = """\
  Domain: a.example.org
  Type:   connection
  Detail: Get "http://a.example.org:80/.well-known/acme-challenge/x": connect: connection refused"""


@pytest.mark.parametrize(
    ("around", "why"),
    [
        ("An unexpected error occurred:\n{}", REFUSED),
        ("An unexpected error occurred:\n{}", UNREACHED),
        (
            "\nCertbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority "
            "reported these problems:\n{}\n\nHint: The Certificate Authority failed to download the challenge files.\n"
            "\nSome challenges have failed.",
            UNSEEN,
        ),
    ],
)
def test_people_are_told_what_went_wrong_and_nothing_around_it(around: str, why: str) -> None:
    assert reason(CERTBOT.format(around.format(why))) == why


def test_a_challenges_record_lies_in_the_sites_zone() -> None:
    assert label("release.example.org", "example.org") == "_acme-challenge.release"
    assert label("example.org", "example.org") == "_acme-challenge"
    with pytest.raises(Failure, match="not in the zone"):
        label("release.example.com", "example.org")


def test_a_challenge_is_waited_for_at_every_name_server_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def shows(server: str, name: str, value: str) -> bool:
        asked.append(server)
        return server == "ns1.example.net" or len(asked) > 4

    monkeypatch.setattr(dns_challenge, "shows", shows)
    monkeypatch.setattr(dns_challenge, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(Zone, "name_servers", lambda zone: ["ns1.example.net", "ns2.example.net"])
    zone = Zone({"zone": "example.org", "api_url": "https://api.example.net", "key": "k"})
    dns_challenge.wait(zone, "_acme-challenge.example.org", "v")
    assert asked == ["ns1.example.net", *["ns2.example.net"] * 4]
    asked.clear()
    monkeypatch.setattr(dns_challenge, "PATIENCE_S", -1)
    with pytest.raises(Failure, match=r"not answered by ns2\.example\.net within"):
        dns_challenge.wait(zone, "_acme-challenge.example.org", "v")
