"""Web servers get their certificates from the lab's authority, renew them, and serve on when it cannot be had.

Two release servers, which share a name.
"""

import http.client
import json
import re
import shlex
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud import provision
from cloud.converge import REPOSITORY, Converged, converge
from inventories import trusted
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import ssh_config
from lab import authority
from lab.engine import LabConfig
from roles.common.nginx import certificate
from tests.faults import certificate_killed
from tests.labs import one_connection
from tests.publishing_site import publishing_site
from tests.unrenewed import unrenewed
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

ONE, TWO = "release-1", "release-2"
SHARED, OWN = "release.lab.example.org", "one.lab.example.org"
METADATA = "/ota/panther/panther-stable"
CHALLENGE = "/.well-known/acme-challenge/token"
SHORT_S = 20
"""How long a certificate is valid that is to run out."""


@dataclass(frozen=True)
class Servers:
    """The two hosts, and the authority of their lab."""

    inventory: Path
    lab: LabConfig

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def address(self, host: str) -> str:
        return self.site.lock.hosts[host].ipv4

    def deploy(self, *options: str) -> Converged:
        done = converge(self.inventory, "release", *options)
        assert done.ok, done.output
        return done

    def change(self, **hosts: dict[str, Any]) -> None:
        """Sets keys of hosts in the inventory, and provisions them."""
        document: Any = tomlkit.parse(self.inventory.with_suffix(".toml").read_text())
        for name, keys in hosts.items():
            document["hosts"][name.replace("_", "-")].update(keys)
        self.inventory.with_suffix(".toml").write_text(tomlkit.dumps(document))
        done = converge(self.inventory, "provision")
        assert done.ok, done.output

    def run(self, host: str, command: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """As root."""
        config = one_connection(self.inventory.parent / "ssh_config", ssh_config(self.site))
        words = ["ssh", "-F", str(config), host, "sudo", "sh", "-c", shlex.quote(command)]
        return subprocess.run(words, input=given, capture_output=True, text=True, check=False)

    def root(self, host: str, command: str) -> str:
        done = self.run(host, command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def due(self, host: str) -> str:
        return self.root(host, f"python3 -I {certificate.PROGRAM} due").strip()

    def renew(self, host: str) -> bool:
        """As by the timer."""
        return self.run(host, "systemctl start mainstay-certificate.service").returncode == 0

    def served(self, host: str, name: str = SHARED, *, valid: bool = False) -> str:
        """The certificate in PEM. Raises ssl.SSLError, if it has to be valid and is not, or there is none."""
        context = trusted.context(self.site.files) if valid else trusted.unverified()
        return trusted.certificate(name, self.address(host), context)

    def challenge(self, host: str) -> None:
        """Has a host answer one, as certbot does."""
        file = f"{certificate.CHALLENGES}{CHALLENGE}"
        self.root(host, f"mkdir -p $(dirname {file}) && echo answer > {file} && chmod -R a+rX {certificate.CHALLENGES}")

    def on_disk(self, host: str) -> str:
        return self.root(host, f"openssl x509 -in {certificate.CERTIFICATE}")

    def serves_what_lies_there(self, host: str) -> bool:
        return self.served(host) == self.on_disk(host)

    def plain(self, host: str, path: str, name: str = SHARED, **headers: str) -> tuple[int, str, str]:
        """Status, Location and body of a request without TLS."""
        connection = http.client.HTTPConnection(self.address(host), timeout=60)
        connection.request("GET", path, headers={"Host": name} | headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", ""), answer.read().decode()

    def mails(self) -> list[str]:
        return [path.read_text() for path in (self.lab.root / "mail").glob("*.eml")]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    for made in publishing_site(tmp_path_factory.mktemp("certificate")):
        yield Servers(made.inventory, made.lab)


@contextmanager
def unreachable(lab: LabConfig) -> Iterator[None]:
    """No host gets through to the authority."""
    table = f"inet {lab.prefix}-cut"
    rule = f"ip saddr {lab.network4} tcp dport {authority.PORT} reject with tcp reset"
    nft = f"table {table} {{ chain in {{ type filter hook input priority -10; {rule}; }}; }}"
    subprocess.run(["nft", nft], check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", f"delete table {table}"], check=True)


def test_hosts_that_share_a_name_each_have_a_certificate_and_a_key_of_their_own(servers: Servers) -> None:
    assert servers.served(ONE, valid=True) != servers.served(TWO, valid=True)
    keys = {servers.root(host, f"openssl pkey -pubout -in {certificate.CERTIFICATE}") for host in (ONE, TWO)}
    assert len(keys) == 2
    assert all(servers.serves_what_lies_there(host) for host in (ONE, TWO))


def test_nothing_secret_is_for_everybodys_eyes(servers: Servers) -> None:
    folders = f"{certificate.PLAN} {certificate.STATE}"
    found = servers.root(ONE, f"grep -rlE 'PRIVATE KEY|\"kty\"' {folders} | xargs stat -c '%a %U:%G %n'").splitlines()
    assert f"640 root:www-data {certificate.CERTIFICATE}" in found
    assert len(found) > 1, "the key of the account"
    for line in found:
        assert re.match(r"[46]00 root:root ", line) or line.endswith(f" {certificate.CERTIFICATE}"), line
    assert servers.run(ONE, f"sudo -u nobody cat {certificate.CERTIFICATE}").returncode != 0


def test_a_challenge_is_answered_by_whichever_host_is_asked_and_not_in_circles(servers: Servers) -> None:
    servers.challenge(TWO)
    assert [servers.plain(host, CHALLENGE) for host in (ONE, TWO)] == [(200, "", "answer\n")] * 2
    assert servers.plain(ONE, CHALLENGE, **{"Passed-On": "yes"})[0] == 404
    servers.root(TWO, f"rm -r {certificate.CHALLENGES}/.well-known")
    assert [servers.plain(host, CHALLENGE)[0] for host in (ONE, TWO)] == [404, 404]


def test_without_tls_there_is_the_way_to_it_and_for_update_clients_an_error(servers: Servers) -> None:
    assert servers.plain(ONE, "/page?x=1")[:2] == (301, f"https://{SHARED}/page?x=1")
    for path in (METADATA, "/factory/panther/panther-factory", "/ota/panther/16/x.zip", "/device-flasher/1/x"):
        assert servers.plain(ONE, path)[:2] == (403, "")
    for name in (servers.address(ONE), "elsewhere.example"):
        assert servers.plain(ONE, "/", name)[:2] == (404, "")


def test_who_asks_for_another_name_is_shown_no_certificate(servers: Servers) -> None:
    for name in ("elsewhere.example", ""):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name|handshake.failure"):
            servers.served(ONE, name or servers.address(ONE))


def test_renewal_that_fails_for_long_is_told_and_the_host_serves_on(servers: Servers) -> None:
    soon = unrenewed(servers.lab, [SHARED], SHORT_S)
    assert servers.run(ONE, f"cat > {certificate.CERTIFICATE}; systemctl reload nginx", soon).returncode == 0
    before = until("it is served", lambda: servers.serves_what_lies_there(ONE) and servers.served(ONE, valid=True))
    told = len(servers.mails())
    with unreachable(servers.lab):
        assert servers.due(ONE).startswith("it ends")
        assert not servers.renew(ONE)
        assert servers.root(ONE, "systemctl is-failed mainstay-certificate.service").strip() == "failed"
        until("a mail about it", lambda: len(servers.mails()) > told)
        assert f"{ONE}: mainstay-certificate.service failed" in servers.mails()[-1]
        servers.root(TWO, f"rm {certificate.CERTIFICATE}; systemctl restart nginx.service")
        assert "Issued by: itself" in servers.root(TWO, f"head -1 {certificate.CERTIFICATE}")
        assert servers.serves_what_lies_there(TWO)
        until("the certificate has ended", lambda: servers.due(ONE).startswith("it ended"))
        done = servers.deploy()
        assert "no certificate was got, and the host serves on" in done.output
        assert "Connection refused" in done.output
        assert servers.served(ONE) == before
    servers.root(ONE, f"sed -i 's|/my-account/[^\"]*|/my-account/none|' $(find {certificate.STATE} -name regr.json)")
    servers.deploy()
    until("both serve theirs", lambda: all(servers.serves_what_lies_there(host) for host in (ONE, TWO)))
    assert {servers.served(host, valid=True) for host in (ONE, TWO)}.isdisjoint({before})


@pytest.mark.full
def test_changed_names_lead_to_another_certificate_and_the_zone_can_answer_for_them(servers: Servers) -> None:
    own = {"challenge": "dns-01", "dns_key": "acme_dns_key", "dns_api_url": servers.lab.drill_api_url}
    settings = {"release": {"certificate": own | {"directory": authority.directory(servers.lab)}}}
    second = {"dns": [SHARED, "two.lab.example.org"], "settings": settings}
    servers.change(release_1={"dns": [SHARED, OWN]}, release_2=second)
    api, records = provision.client(servers.site), "/domains/lab.example.org/records"
    for name in ("two", "three"):
        api.post(records, type="TXT", name=f"_acme-challenge.{name}", data='"left"', ttl=120)
    noted = "/var/lib/mainstay/tls/acme/dns_records.json"
    servers.run(TWO, f"cat > {noted}", json.dumps([["_acme-challenge.two", "left"]]))
    servers.deploy()
    assert servers.served(ONE, OWN, valid=True) == servers.served(ONE)
    assert servers.served(TWO, "two.lab.example.org", valid=True) == servers.served(TWO)
    assert "dns-01" in servers.root(TWO, f"cat {certificate.STATE}/acme/log/letsencrypt.log")
    left = [record["name"] for record in api.list(records, "records") if record["type"] == "TXT"]
    servers.challenge(ONE)
    assert servers.plain(TWO, CHALLENGE)[0] == 200, "the other host's are still asked for at port 80"
    servers.root(ONE, f"rm -r {certificate.CHALLENGES}/.well-known")
    assert left == ["_acme-challenge.three"], "what a run that died had noted goes, and nobody else's"
    assert servers.deploy().changed == ()


def test_a_leaked_key_is_revoked_and_replaced_as_the_readme_says(servers: Servers) -> None:
    readme = " ".join((REPOSITORY / "roles/common/nginx/README.md").read_text().split())
    [replace] = re.findall(r"`(rm /var/lib/mainstay/tls/site.pem && [^`]*)`", readme)
    [revoke] = re.findall(r"`(certbot revoke [^`]*)`", readme)
    before = servers.served(ONE)
    words = revoke.replace("DIRECTORY", authority.directory(servers.lab))
    servers.root(ONE, f"REQUESTS_CA_BUNDLE={certificate.PLAN}/acme.pem {words} && {replace}")
    must_be_taken_up(servers)
    assert servers.served(ONE, valid=True) != before


def kill(servers: Servers, at: int | str) -> list[str]:
    """The program's steps, or none as it was killed; a certificate is due to it."""
    servers.root(ONE, f"sed -i '/^Issued by/d' {certificate.CERTIFICATE}")
    script = Path(certificate_killed.__file__).read_text()
    done = servers.run(ONE, f"python3 -I - {at}", script)
    assert (done.returncode == 0) == (at == 0), done.stdout + done.stderr
    return done.stdout.splitlines()[2:] if done.returncode == 0 else []


def must_recover(servers: Servers) -> None:
    """After a loss of power nginx starts, and the next run leaves it with the new certificate."""
    servers.root(ONE, "systemctl restart nginx.service")
    assert servers.serves_what_lies_there(ONE)
    assert servers.renew(ONE)
    assert servers.due(ONE) == ""
    must_be_taken_up(servers)
    assert re.fullmatch("acme\nchallenges\nsite.pem\n", servers.root(ONE, f"ls {certificate.STATE}")), (
        "something is left"
    )


def must_be_taken_up(servers: Servers) -> None:
    """nginx is told to, and asked while it is at it: those who serve already go on for a moment."""
    until("nginx serves what lies there", lambda: servers.serves_what_lies_there(ONE))


def test_a_run_killed_before_nginx_took_up_its_certificate_is_made_good_by_the_next(servers: Servers) -> None:
    kill(servers, "try-reload-or-restart")
    assert not servers.serves_what_lies_there(ONE)
    assert servers.renew(ONE)
    must_be_taken_up(servers)


@pytest.mark.full
def test_killed_at_any_step_nginx_has_a_key_with_its_chain(servers: Servers) -> None:
    for at in range(1, len(kill(servers, 0)) + 1):
        kill(servers, at)
        must_recover(servers)


@pytest.mark.full
def test_strangers_rate_its_tls_best(servers: Servers) -> None:
    """testssl.sh 3.2, Debian's, on the other host."""
    servers.root(TWO, "apt-get install -yq --no-install-recommends testssl.sh >/dev/null 2>&1")
    roots = f"{certificate.PLAN}/roots.pem"
    words = f"testssl --quiet --color 0 --warnings off --add-ca {roots} --ip {servers.address(ONE)} {SHARED}"
    said = servers.run(TWO, words).stdout
    for wanted in (r"Overall Grade +A\+", r"OCSP stapling +not offered", r"OCSP must staple extension +--"):
        assert re.search(wanted, said), said
