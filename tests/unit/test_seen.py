"""What the control host tells of web servers: whoever keeps users out, and whose certificate comes to its end."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tomlkit
from cryptography import x509

from backup import seen
from backup.data_set import Certificate, Kind
from backup.seen import Look, Server
from inventories import trusted
from inventories.inventory import LoadedSite, load_site
from inventories.lock import Lock, LockedHost, save
from lab.sites import LAB_TOML
from roles.common.nginx import certificate
from tests.unit import tls_server
from tests.unit.tls_server import NAME, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tls_server.Server]:
    with serving(tmp_path) as made:
        yield made


def found(port: int, trusting: ssl.SSLContext, name: str = NAME) -> Look:
    return seen.look(Server("web-1", "web", name, "127.0.0.1", port), trusting)


def test_a_server_that_lets_users_in_is_not_told_of(server: tls_server.Server) -> None:
    assert found(server.port, trusted.pinned(server.certificate)).wrong == ""


def test_when_a_certificate_ends_is_known_whether_it_is_believed_or_not(server: tls_server.Server) -> None:
    end = x509.load_pem_x509_certificate(server.certificate.encode()).not_valid_after_utc
    for trusting in (trusted.pinned(server.certificate), ssl.create_default_context()):
        looked = found(server.port, trusting)
        assert seen.shown([looked], "web-1:web") == (Certificate(NAME, end),)
        assert seen.shown([looked], "web-2:web") == ()


def test_who_keeps_users_out_is_told_with_the_reason(
    server: tls_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "AGAIN_S", 0)
    untrusted = found(server.port, ssl.create_default_context()).wrong
    assert untrusted == "users are warned of its certificate: self-signed certificate"
    another = found(server.port, trusted.pinned(server.certificate), "other.example.org").wrong
    assert another.startswith("users are warned of its certificate: Hostname mismatch")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    silent = found(port, ssl.create_default_context())
    assert (silent.ends, seen.shown([silent], "web-1:web")) == (None, ())
    assert silent.wrong == "does not answer by TLS: [Errno 111] Connection refused"


def test_a_host_is_told_of_once_with_all_names_that_are_hit() -> None:
    release, *web = (
        Server("release-1", "release", "release.example.org", "192.0.2.1"),
        Server("web-1", "web", "www.example.org", "192.0.2.2"),
        Server("web-1", "web", "example.org", "192.0.2.2"),
    )
    assert seen.findings([Look(release), *map(Look, web)]) == []
    [one] = seen.findings([Look(release), Look(web[0], "is late"), Look(web[1], "is silent")])
    assert (one.kind, one.data_set, one.key) == (Kind.CERTIFICATE, "web-1:web", "web-1:web certificate")
    assert one.what == "www.example.org: is late; example.org: is silent"
    assert one.subject.each == ("www.example.org", "example.org")
    assert "certificate-will-not-renew.md" in one.to_do


def test_a_server_that_just_restarts_is_asked_again(server: tls_server.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def answers_later(*asked: object) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionRefusedError
        return server.certificate

    monkeypatch.setattr(seen, "AGAIN_S", 0)
    monkeypatch.setattr(trusted, "certificate", answers_later)
    assert found(server.port, ssl.create_default_context()).wrong == ""
    assert len(tries) == 2


def test_the_end_of_a_certificate_is_told_when_a_quarter_of_its_life_is_left(server: tls_server.Server) -> None:
    held = x509.load_pem_x509_certificate(server.certificate.encode())
    begins, ends = held.not_valid_before_utc, held.not_valid_after_utc
    for share, told in ((0, False), (0.7, False), (0.76, True), (0.99, True)):
        assert bool(seen.short_of_life(held, begins + (ends - begins) * share)) == told, share
    what = seen.short_of_life(held, ends - timedelta(days=5))
    assert what == f"its certificate ends in 5 days, on {ends:%Y-%m-%d}, and was not renewed"
    assert datetime.now(UTC) < ends


def test_every_name_of_every_web_server_is_looked_at_but_of_those_that_nobody_is_to_believe(tmp_path: Path) -> None:
    site = lab_site(tmp_path, {})
    assert [(one.host, one.role, one.name, one.address) for one in seen.servers(site)] == [
        ("release-1", "release", "release.lab.example.org", "192.0.2.1"),
        ("web-1", "web", "www.lab.example.org", "192.0.2.2"),
        ("web-1", "web", "lab.example.org", "192.0.2.2"),
    ]
    alone = lab_site(tmp_path, {"web": {"certificate": {"challenge": "none"}}})
    assert {one.host for one in seen.servers(alone)} == {"release-1"}
    assert certificate.Certificate().challenge != "none"


def lab_site(folder: Path, settings: dict[str, object]) -> LoadedSite:
    """The lab's, with all hosts but the control host provisioned."""
    document = tomlkit.parse(LAB_TOML.read_text()).unwrap()
    document["site"]["files"] = str(folder)
    document["settings"] |= settings
    path = folder / "lab.toml"
    path.write_text(tomlkit.dumps(document))
    hosts = {name: f"192.0.2.{at}" for at, name in enumerate(("release-1", "web-1", "vault-1"), 1)}
    save(
        folder / "lock.json",
        Lock(
            hosts={
                name: LockedHost(instance_id=name, ipv4=address, ipv6="2001:db8::1") for name, address in hosts.items()
            }
        ),
    )
    return load_site(path)
