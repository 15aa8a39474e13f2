"""The signing host in a container: what of it is its own there; tests/e2e/test_signing_vm.py has the rest."""

import os
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cloud.converge import REPOSITORY
from inventories import keys
from inventories.editing import Plain, apply
from inventories.inventory import load_site
from inventories.secrets import read
from inventories.ssh import ssh_config
from lab import network
from roles.signing.deploy import LOG
from tests import signing_hsms as hsms
from tests.hsm_site import ADMIN, PASSWORDS, SERIALS, SIGNING
from tests.labs import disconnect, own_lab
from tests.security_key import SecurityKey, agent
from tests.signing_site import HOST, LOG_PORT, SigningSite, made, signing_site
from tests.waiting import until

pytestmark = pytest.mark.lab
COMMIT = (
    f"umask 027 && cd {LOG} && echo {{}} >entries && git add entries && "
    "git -c user.name=x -c user.email=x@example.org commit -q -m entries"
)
"""As custody commits entries of a log."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningSite]:
    with own_lab("signing", prepared=True) as lab:
        found = made(signing_site(lab, tmp_path_factory.mktemp("signing")))
        yield found
        disconnect(found.ssh_config)


def test_a_second_deploy_changes_nothing(site: SigningSite) -> None:
    again = site.deploy()
    assert again.ok, again.output
    assert again.changed == (), again.output
    assert site.root("find /var/cache/mainstay-signing -name running.cpython-313.pyc") != ""


def test_the_roles_own_suites_pass_and_name_what_they_did_not_check(site: SigningSite) -> None:
    done = site.suite("signing", "base")
    assert done.returncode == 0, done.stdout
    listed = done.stdout.partition("not checked here")[2]
    for test in ("the_kernel_is_locked_down", "audit_rules_are_loaded_and_locked", "the_disk_is_encrypted"):
        assert f"test_{test}[{HOST}]: " in listed


def test_what_the_log_account_sends_arrives_and_nobody_else_gets_there(site: SigningSite) -> None:
    send = "exec 3<>/dev/tcp/{address}/{port} && echo sent >&3"
    with socket.create_server((str(site.lab.gateway4), LOG_PORT)) as listener:
        listener.settimeout(10)
        words = send.format(address=site.lab.gateway4, port=LOG_PORT)
        assert site.run(f"runuser -u signing-logs -- bash -c '{words}'").returncode == 0
        with listener.accept()[0] as taken:
            assert taken.recv(4) == b"sent"
        for user in ("root", "nobody", "signing"):
            assert site.run(f"runuser -u {user} -- bash -c '{words}'").returncode != 0, user


def says(site: SigningSite, command: str) -> str:
    return site.run(command).stdout


@contextmanager
def simulated(site: SigningSite, folder: Path) -> Iterator[None]:
    """Devices in the connectors' places: a container has no USB, but its own loopback, which they are put on."""
    units = " ".join(f"signing-connector@{serial:010}" for serial in SERIALS.values())
    space = network.NETNS / network.netns(site.lab, load_site(site.inventory).lock.hosts[HOST].instance_id)
    site.root(f"systemctl mask --runtime --now {units}")
    with ExitStack() as stack:
        stack.callback(site.root, f"systemctl unmask --runtime {units}")
        for name, serial in SERIALS.items():
            port = hsms.URLS[name].rpartition(":")[2]
            words = ["nsenter", f"--net={space}", sys.executable, "-m", "lab.hsm", "--state", str(folder / name)]
            words += ["--port", port, "--serial", str(serial)]
            process = stack.enter_context(subprocess.Popen(words, cwd=REPOSITORY))
            stack.callback(process.terminate)
            ask = f"curl -s {hsms.URLS[name]}/connector/status | grep status=OK"
            until(f"the device {name}", partial(says, site, ask))
        yield


@pytest.mark.full
def test_what_the_hsms_hold_is_made_looked_at_used_and_accounted_for(site: SigningSite, tmp_path: Path) -> None:
    """By `mainstay hsm` as a deploy has brought it, with Debian's packages alone."""
    run = site.run
    with simulated(site, tmp_path):
        hsms.make(run)
        hsms.ended(0, run, hsms.hsm("plan"), hsms.hsm("drain"), hsms.hsm("audit"))
        files = "--in $HOME/zip --out $HOME/signature --outformat binary"
        sign = hsms.shell(f"sign-pkcs1v15 -i 0x0101 -A rsa-pkcs1-sha256 {files}", SIGNING, "signing")
        said = hsms.ended(0, run, "printf a-package >$HOME/zip", sign, "base64 -w0 $HOME/signature")
        public = load_pem_public_key(hsms.public_keys(run)[0].encode())
        assert isinstance(public, RSAPublicKey)
        public.verify(b64decode(said.split()[-1]), b"a-package", PKCS1v15(), hashes.SHA256())
        hsms.sign_apk(run)
        drained = run("mainstay hsm drain --password-fd 0", root=False, given=f"{PASSWORDS['audit']}\n")
        assert drained.returncode == 0, drained.stderr
        verified = run("mainstay hsm verify --expect sign-pkcs1@0x0101=3", root=False)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert run("mainstay hsm verify --expect sign-pkcs1@0x0101=2", root=False).returncode == 55
        extra = hsms.shell("put-opaque -i 0x7777 -l x -d 1 -c none -A opaque-data --in $HOME/zip", ADMIN, "admin")
        hsms.ended(hsms.WRONG, run, "printf x >$HOME/zip", extra, hsms.hsm("audit"))


@pytest.mark.full
def test_what_is_not_as_reviewed_is_not_installed(site: SigningSite) -> None:
    """A package that the archive does not have as it is pinned: here it has none at all."""
    site.root("dpkg --purge yubihsm-wrap && mkdir /tmp/lists && mv /var/lib/apt/lists/*_Packages* /tmp/lists")
    refused = site.deploy()
    assert not refused.ok
    assert "yubihsm-wrap: the archive has none, pinned is" in refused.output
    site.root("mv /tmp/lists/* /var/lib/apt/lists/")
    mended = site.deploy()
    assert mended.ok, mended.output


def test_a_swap_is_taken_into_use_by_no_unit(site: SigningSite) -> None:
    site.root("printf '[Swap]\\nWhat=/none\\n' >/run/systemd/system/none.swap; systemctl daemon-reload")
    site.root("systemctl start none.swap")
    assert site.root("systemctl show -p ConditionResult --value none.swap") == "no"
    site.root("rm /run/systemd/system/none.swap; systemctl daemon-reload")


def test_with_security_keys_alone_pyinfra_and_ssh_get_in_by_them_and_no_other_key_does(
    site: SigningSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through ssh-agent: pyinfra's ssh does not know such keys, and hands on what the agent signs."""
    key, admins = SecurityKey(), load_site(site.inventory).files / "admins.toml"
    before, toml = admins.read_text(), site.inventory.with_suffix(".toml")
    admins.write_text(before.replace("ssh_keys = [", f'ssh_keys = ["{key.line}", ', 1))
    done = site.deploy("base")
    assert done.ok, done.output
    declared = toml.read_text()
    toml.write_text(
        declared.replace("time_servers = []", "time_servers = []\nsecurity_keys_only = true").replace(
            'ssh_key = "id_ed25519"\n', ""
        )
    )
    with agent(key, tmp_path / "agent") as sock:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        only = site.deploy("base")
        assert only.ok, only.output
        again = site.deploy()
        assert again.ok, again.output
        assert again.changed == ()
        assert key.signatures > 0
        done_suite = site.suite("signing", "base")
        assert done_suite.returncode == 0, done_suite.stdout
        assert "test_ssh_takes_keys_of_security_keys_alone" not in done_suite.stdout
        assert logs_in(site, tmp_path)
        key.touched = False
        assert not logs_in(site, tmp_path)
        key.touched = True
        toml.write_text(declared.replace('ssh_key = "id_ed25519"\n', ""))
        assert not logs_in(site, tmp_path, "-i", str(load_site(site.inventory).files / "id_ed25519"), agent=False)
        back = site.deploy("base")
        assert back.ok, back.output
    admins.write_text(before)
    toml.write_text(declared)
    assert site.deploy("base").ok


def logs_in(site: SigningSite, folder: Path, *options: str, agent: bool = True) -> bool:
    """By a new connection."""
    config = folder / "ssh_config"
    config.write_text(ssh_config(load_site(site.inventory)))
    environment = os.environ if agent else {k: v for k, v in os.environ.items() if k != "SSH_AUTH_SOCK"}
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", *options, HOST, "true"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 or "Permission denied" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.full
def test_the_log_of_the_hsms_goes_on_as_it_grows_and_is_never_written_over(site: SigningSite) -> None:
    """To a repository of this very host, which is reached as one elsewhere would be."""
    loaded = load_site(site.inventory)
    key, path, toml = keys.new_ssh(), loaded.files / "secrets.age", site.inventory.with_suffix(".toml")
    admins, declared = loaded.files / "admins.toml", toml.read_text()
    before = admins.read_text()
    admins.write_text(before.replace("ssh_keys = [", f'ssh_keys = ["{keys.public_ssh(key)} log", ', 1))
    apply(path, read(path), {"signing_logs_key": Plain(key, ())}, loaded.readers)
    there = f"/home/{loaded.ssh_user}/hsm-log.git"
    bare = f"git init -q --bare -b main {there} && git -C {there} config receive.denyNonFastForwards true"
    assert site.run(bare, root=False).returncode == 0
    remote = (
        f'url = "ssh://{loaded.ssh_user}@{site.address}{there}", host_key = "{loaded.lock.hosts[HOST].host_keys[0]}"'
    )
    toml.write_text(declared.replace("hsms = [", f"logs = {{ {remote} }}\nhsms = [", 1))
    for name in ("base", "signing"):
        done = site.deploy(name)
        assert done.ok, done.output
        assert "PRIVATE KEY" not in done.output

    def has(entries: str) -> bool:
        return site.run(f"git -C {there} show main:entries", root=False).stdout.strip() == entries

    for entries in ("one", "one more"):
        site.root(f"signing-session sh -c '{COMMIT.format(entries)}'")
        until("it went on", partial(has, entries))
    site.root(f"signing-session sh -c 'cd {LOG} && git reset -q --hard HEAD~1 && {COMMIT.format('another')}'")
    until("it was refused", lambda: site.run("systemctl is-failed signing-logs").stdout.strip() == "failed")
    assert has("one more")
    site.root(f"signing-session sh -c 'cd {LOG} && git reset -q --hard HEAD@{{2}}' && systemctl start signing-logs")
    toml.write_text(declared)
    admins.write_text(before)
    for name in ("signing", "base"):
        assert site.deploy(name).ok
    assert site.run("ls /etc/signing/logs").stdout == ""
    assert site.run("systemctl is-active signing-logs.path signing-logs.timer").stdout.split() == ["inactive"] * 2
    site.root(f"rm -r {there} {LOG}/.git {LOG}/entries")
    assert site.deploy().ok
