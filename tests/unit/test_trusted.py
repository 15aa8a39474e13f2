"""Web servers by https: who is believed, and who is not."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from backup.certificate import new_key, self_signed
from inventories import by_name, trusted
from tests.unit.tls_server import NAME, Server, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as made:
        yield made


def refused(server: Server, name: str, trusting: ssl.SSLContext) -> str:
    with pytest.raises(requests.exceptions.SSLError) as caught:
        by_name.session(name, trusting).get(server.url, timeout=10)
    return str(caught.value)


def test_a_server_is_asked_by_its_name_wherever_it_is(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/nothing-of-this")
    answer = by_name.session(NAME, trusted.pinned(server.certificate)).get(server.url, timeout=10)
    assert answer.text == f"{NAME}/page"


def test_a_certificate_of_another_name_is_none(server: Server) -> None:
    assert "doesn't match" in refused(server, "other.example.org", trusted.pinned(server.certificate))


def test_who_knows_the_certificate_takes_no_other(server: Server) -> None:
    assert "self-signed certificate" in refused(server, NAME, trusted.pinned(self_signed(new_key(), (NAME,))))


def test_a_lab_is_trusted_by_what_lies_in_its_sites_folder_and_a_site_without_by_nothing_more(
    server: Server, tmp_path: Path
) -> None:
    public = len(ssl.create_default_context().get_ca_certs())
    assert len(trusted.context(tmp_path).get_ca_certs()) == public
    assert "self-signed certificate" in refused(server, NAME, trusted.context(tmp_path))
    (tmp_path / trusted.ROOTS).write_text(server.certificate)
    assert by_name.session(NAME, trusted.context(tmp_path)).get(server.url, timeout=10).ok


def test_what_a_server_shows_is_had_without_asking_it_for_anything(server: Server) -> None:
    trusting = trusted.pinned(server.certificate)
    assert trusted.certificate(NAME, "127.0.0.1", trusting, server.port) == server.certificate
    for name, believed in (("other.example.org", trusting), (NAME, trusted.pinned(self_signed(new_key(), (NAME,))))):
        with pytest.raises(ssl.SSLCertVerificationError):
            trusted.certificate(name, "127.0.0.1", believed, server.port)
