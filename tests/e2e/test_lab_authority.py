"""The lab's certificate authority: certbot on a host gets certificates of it, and it lives as long as its lab."""

import base64
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from inventories import trusted
from inventories.secrets import Secrets
from lab import authority, lifecycle
from lab.engine import LabConfig
from tests.lab_hosts import Host, LabCloud, cloud

pytestmark = pytest.mark.lab
DOMAIN = "acme.example.org"
HOOK = """\
#!/bin/sh -e
# How the provider's API is told the answer to a challenge.
curl -sSf --cacert /root/provider.pem -H "Authorization: Bearer $KEY" -o /dev/null \\
    --json '{"type": "TXT", "name": "_acme-challenge", "data": "'"$CERTBOT_VALIDATION"'", "ttl": 120}' \\
    "$API/domains/$CERTBOT_DOMAIN/records"
"""


@pytest.fixture(scope="module")
def main(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCloud]:
    yield from cloud(lab, tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def host(lab: LabConfig, main: LabCloud) -> Host:
    """With certbot, and names of its own."""
    made = main.host("certified")
    main("POST", "/domains", {"domain": DOMAIN, "ip": made.ipv4})
    files = {name: (lab.root / "site" / name).read_text() for name in (trusted.ACME, "provider.pem")}
    for name, text in {**files, "hook": HOOK}.items():
        made.ssh(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d >/root/{name}")
    made.ssh("chmod 755 /root/hook")
    made.ssh("apt-get update -q && apt-get install -yq --no-install-recommends certbot", timeout_s=300)
    return made


def issued(lab: LabConfig, host: Host, name: str, *options: str, environment: str = "") -> bytes:
    """The chain of a certificate that certbot has got."""
    words = ["certbot certonly -n --agree-tos -m admin@example.org --force-renewal --cert-name one", *options]
    trust = f"REQUESTS_CA_BUNDLE=/root/acme.pem {environment}"
    host.ssh(f"{trust} {' '.join(words)} --server {authority.directory(lab)} -d {name}", timeout_s=120)
    return host.ssh("cat /etc/letsencrypt/live/one/fullchain.pem").encode()


def verified(lab: LabConfig, folder: Path, chain: bytes, name: str) -> bool:
    """Whether a web client would take it for that name, by what lies in the site's folder."""
    (folder / "chain").write_bytes(chain)
    words = ["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", name]
    words += ["-CAfile", str(lab.root / "site" / trusted.ROOTS), "-untrusted", "chain", "chain"]
    return not subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode


def test_who_can_change_dns_alone_gets_a_certificate_of_all_names(lab: LabConfig, host: Host, tmp_path: Path) -> None:
    site = lab.root / "site"
    key = Secrets(site / "secrets.age", [site / "id_ed25519"])["acme_dns_key"].get_secret_value()
    environment = f"KEY={key} API={lab.drill_api_url}"
    options = ("--manual", "--preferred-challenges dns", "--manual-auth-hook /root/hook")
    chain = issued(lab, host, f'"*.{DOMAIN}"', *options, environment=environment)
    assert verified(lab, tmp_path, chain, f"any.{DOMAIN}")
    assert not verified(lab, tmp_path, chain, DOMAIN)
    found = host.ssh(f"resolvectl query --legend=no -t TXT _acme-challenge.{DOMAIN}")
    assert f"_acme-challenge.{DOMAIN} IN TXT" in found


def test_it_outlives_the_labs_daemon_and_hosts_and_is_another_one_only_when_it_was_ended(
    lab: LabConfig, main: LabCloud, host: Host, tmp_path: Path
) -> None:
    file = lab.root / "site" / trusted.ROOTS
    root, pid = file.read_text(), authority._pid(lab)
    os.kill(lifecycle._daemon_pid(lab), signal.SIGKILL)
    lifecycle.up(lab.name)
    lifecycle.stop(lab.name)
    lifecycle.up(lab.name)
    assert (file.read_text(), authority._pid(lab)) == (root, pid)
    main.ready(host.id)
    before = issued(lab, host, DOMAIN, "--standalone")
    assert verified(lab, tmp_path, before, DOMAIN)
    authority.stop(lab)
    authority.start(lab, valid_s=3600)
    assert file.read_text() != root
    assert not verified(lab, tmp_path, before, DOMAIN)
    host.ssh("rm -r /etc/letsencrypt/accounts")
    short = issued(lab, host, DOMAIN, "--standalone")
    assert verified(lab, tmp_path, short, DOMAIN)
    certificate = x509.load_pem_x509_certificate(short)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(hours=1)


def test_its_keys_are_for_this_machine_alone(lab: LabConfig, host: Host) -> None:
    port = authority._management_port(lab)
    assert host.ssh(f"curl -sk -o /dev/null -w %{{http_code}} https://{lab.gateway4}:{port}/roots/0 || :") == "000"
