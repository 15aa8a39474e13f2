"""Who is root on the control host reads every backup, and takes none away, enters no host, and learns no other secret.

On the rehearsal's site, or the one that --inventory names: all that is tried must be refused, and changes nothing.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from backup import custody
from backup.control import wanted
from backup.custody import ADMIN, CONTROL, PORTS
from backup.reach import Reach, reach
from backup.restic_process import ResticError
from backup.store import COPY, COPY_KEYS, VAULT
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import CONTROL_FOLDER, LoadedSite, load_site
from inventories.secrets import Secrets
from inventories.ssh import blocks, ssh_config
from lab.s3 import S3
from lab.tools import restic
from roles.control.holds import FOLDER
from tests.vault_client import Listener, through_ssh

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
OWN_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
READS_AND_ADDS = re.compile(
    "vault_(?!admin$|tls_key$)[a-z0-9_]+|backup_[a-z0-9_]+|copy_(access|secret)_key|notify_(webhook|ping)|drill_api_key"
)
DISK = "/boot /etc /home /opt /root /run /srv /tmp /usr /var"


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> LoadedSite:
    """As an admin has it."""
    return load_site(request.config.getoption("--inventory") or request.getfixturevalue("site"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rooted")


@pytest.fixture(scope="module")
def hosts(site: LoadedSite, folder: Path) -> dict[str, Host]:
    """All of them, as root."""
    config = folder / "ssh_config"
    config.write_text(ssh_config(site))
    return {name: testinfra.get_host(f"ssh://{name}", ssh_config=str(config), sudo=True) for name in site.fleet.hosts}


@pytest.fixture(scope="module")
def control(site: LoadedSite, hosts: dict[str, Host]) -> Host:
    return hosts[custody.control_host(site)]


@pytest.fixture(scope="module")
def loot(site: LoadedSite, control: Host, folder: Path) -> LoadedSite:
    """The site as the intruder has it: by what lies in the control host's folder."""
    taken = folder / "loot"
    for name in control.check_output(f"ls {FOLDER}").split():
        replace(taken / name, control.check_output(f"base64 {FOLDER}/{name} | base64 -d") + "\n", 0o600)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(CONTROL_FOLDER, str(taken))
        return load_site(site.path)


@pytest.fixture(scope="module")
def way(loot: LoadedSite) -> Iterator[Reach]:
    with pytest.MonkeyPatch.context() as environment, reach(loot) as way:
        environment.setenv("MAINSTAY_RESTIC", restic())
        yield way


def kept(site: LoadedSite, hosts: dict[str, Host]) -> set[str]:
    """Every file of every repository in the vault, with its hash; but locks, which come and go."""
    vault = custody.vault_of(site)
    assert vault
    [mount] = {volume.mount for volume in vault[1].volumes.values()}
    files = f"find {mount} -type f ! -path '*/locks/*' -path '*/*-*/*' -exec sha256sum {{}} +"
    return set(hosts[vault[0]].check_output(files).splitlines())


def test_it_reads_all_backups_and_takes_none_away(site: LoadedSite, hosts: dict[str, Host], way: Reach) -> None:
    before = kept(site, hosts)
    for name in (VAULT, COPY):
        with way.store(name) as store:
            for data_set in wanted(way.site, []):
                repository = store.restic(data_set)
                newest = repository.snapshots()[-1].id
                with pytest.raises(ResticError):
                    repository.forget([newest])
                assert newest in [one.id for one in repository.snapshots()]
    assert len(before) > 10
    assert before <= kept(site, hosts)


def test_no_request_to_the_vault_deletes_or_overwrites(
    site: LoadedSite, hosts: dict[str, Host], loot: LoadedSite, way: Reach
) -> None:
    before = kept(site, hosts)
    vault = custody.vault_of(site)
    assert vault
    login = (CONTROL, loot.secrets["vault_control"].get_secret_value())
    [data_set, *_] = wanted(loot, [])
    pack = next(line for line in sorted(before) if f"/{data_set.host}/{data_set.plan}/data/" in line)
    target = f"/{data_set.host}/{data_set.plan}/data/{pack.rpartition('/')[2]}"
    # How an admin reaches all listeners: the intruder reaches one of them, so that what is refused here is the login.
    with through_ssh(Path(hosts_config(hosts)), vault[0], site.files / custody.CERTIFICATE) as listeners:
        for name, listener in listeners.items():
            assert listener.ask("GET", target, login).status == (200 if name == CONTROL else 401)
            for method, path, body in (
                ("DELETE", target, None),
                ("DELETE", target.replace("/data/", "/data/../data/"), None),
                ("POST", target, b"overwritten"),
                ("PUT", target, b"overwritten"),
                ("DELETE", f"/{data_set.host}/{data_set.plan}/config", None),
                ("DELETE", f"/{data_set.host}/{data_set.plan}/", None),
            ):
                assert listener.ask(method, path, login, body).status in (301, 400, 401, 403, 404, 405), (name, method)
    for port in (PORTS[ADMIN], 22):
        assert forwarding(way, vault[0], port).returncode
    outside = Listener(site.lock.hosts[vault[0]].ipv4, PORTS[custody.APPEND], vault[1].dns[0], site.files / "vault.pem")
    assert outside.ask("GET", target, login).status == 401
    assert before <= kept(site, hosts)


def test_no_request_to_the_second_copy_deletes_and_what_is_overwritten_stays(
    site: LoadedSite, loot: LoadedSite
) -> None:
    declared = site.fleet.backup.copy_
    assert declared
    access, secret = (loot.secrets[name].get_secret_value() for name in COPY_KEYS[CONTROL])
    mine = S3(declared.endpoint, access, secret, site.files / "copy.pem")
    access, secret = (site.secrets[name].get_secret_value() for name in COPY_KEYS[ADMIN])
    admin = S3(declared.endpoint, access, secret, site.files / "copy.pem")
    bucket = f"/{declared.bucket}"
    trial = f"{bucket}/trial/of-the-control-hosts-key"
    config = f"{bucket}/{wanted(site, [])[0].host}/{wanted(site, [])[0].plan}/config"
    for text in (b"first", b"second"):
        assert mine.ask("PUT", trial, body=text).ok
    listed = admin.ask("GET", bucket, {"versions": "", "prefix": "trial/"}).text
    versions = re.findall(r"<VersionId>(.*?)</VersionId>", listed)
    assert b"first" in [admin.ask("GET", trial, {"versionId": version}).content for version in versions]
    suspended = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    for method, path, query, body in (
        ("DELETE", trial, {}, b""),
        ("DELETE", config, {}, b""),
        *(("DELETE", trial, {"versionId": version}, b"") for version in versions),
        ("DELETE", bucket, {"policy": ""}, b""),
        ("PUT", bucket, {"policy": ""}, b'{"Version": "2012-10-17", "Statement": []}'),
        ("PUT", bucket, {"versioning": ""}, suspended),
        ("PUT", bucket, {"object-lock": ""}, b"<ObjectLockConfiguration></ObjectLockConfiguration>"),
        ("DELETE", bucket, {}, b""),
    ):
        assert mine.ask(method, path, query, body).status_code == 403, (method, path, query)
    assert admin.ask("GET", config).ok
    assert admin.ask("DELETE", trial).ok


def test_no_key_on_it_logs_in_anywhere(site: LoadedSite, control: Host, loot: LoadedSite, folder: Path) -> None:
    assert loot.ssh_key
    replace(folder / "host_key", control.check_output(f"cat {OWN_HOST_KEY}") + "\n", 0o600)
    addresses = {name: host.ipv4 for name, host in site.lock.hosts.items()}
    for key in (loot.ssh_key, folder / "host_key"):
        for user in ("root", site.ssh_user, CONTROL):
            config = folder / "trial_config"
            config.write_text(blocks(addresses, user, site.known_hosts(), key))
            for name in addresses:
                done = ssh(config, name, "id")
                assert done.returncode, f"{user} at {name} by {key.name}"
                assert "uid=" not in done.stdout
                if key != loot.ssh_key or user != CONTROL:  # who is let in, and answered nothing else
                    assert "Permission denied" in done.stderr, f"{user} at {name} by {key.name}"


def test_no_other_secret_is_on_its_disk(site: LoadedSite, hosts: dict[str, Host]) -> None:
    """In the clear there is what its own backups need, and what it logs in and decrypts with.

    Secrets are told over standard input: sudo writes command lines to the journal.
    """
    own = custody.control_host(site)
    allowed = {custody.SSH_KEY, custody.AGE_KEY, custody.host_secret(own)}
    allowed |= {one.secret for one in custody.of_host(own, site.fleet.hosts[own])}
    lines = {name: site.secrets[name].get_secret_value().splitlines() for name in site.secrets}
    telling = {name: max(found, key=len) for name, found in lines.items() if found}
    find = ["ssh", "-F", hosts_config(hosts), own, f"sudo -n grep -rhoaFs -f - {DISK} | sort -u"]
    patterns = "\n".join(telling.values())
    found = set(subprocess.run(find, input=patterns, capture_output=True, text=True, check=True).stdout.splitlines())
    assert {name for name, line in telling.items() if line in found} == allowed


def test_with_the_repository_it_decrypts_what_reads_and_adds(site: LoadedSite, loot: LoadedSite) -> None:
    age_key = loot.files / "age_key"
    stolen = Secrets(site.secrets.path, [age_key])
    readable = set()
    for name in stolen:
        try:
            _ = stolen[name]
        except InputError:
            continue
        readable.add(name)
    assert not [name for name in readable if not READS_AND_ADDS.fullmatch(name)]
    assert {"vault_control", *COPY_KEYS[CONTROL]} <= readable
    assert set(loot.secrets) == readable


def hosts_config(hosts: dict[str, Host]) -> str:
    return str(next(iter(hosts.values())).backend.ssh_config)


def forwarding(way: Reach, host: str, port: int) -> subprocess.CompletedProcess[str]:
    return ssh(way.config, "-W", f"127.0.0.1:{port}", host)


def ssh(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    options = ["ssh", "-F", str(config), "-o", "BatchMode=yes"]
    return subprocess.run(
        [*options, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
