"""Every runbook, followed to the letter on hosts, does what it promises."""

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from backup import custody
from backup.custody import DataSet
from inventories.inventory import load_site
from lab.sample import CURRENT
from roles.common.nginx import certificate
from tests.runbooks.reader import editing, follow
from tests.saved_site import DATA, HOST, PLAN, REPOSITORY_OF_IT, Saved, lose_the_vault

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

VAULT = "vault-1"
ROOT = "/srv/release"
FILE = "/metadata/ota/panther/panther-stable"
PATHS = " ".join(custody.recovery(PLAN).paths)
SECRET = DataSet(HOST, PLAN).secret
ALL = (
    'cd /srv/release && stat -c ". %U %G %a" . && '
    rf'find {PATHS} -printf "%p %u %g %m\n" | sort; find {PATHS} -type f -printf "%p %T@\n" | sort;'
    rf"find {PATHS} -type f -exec sha256sum {{}} + | sort"
)
OF = {"host": HOST, "role": PLAN}
CUT = "nft 'add table inet cut; add chain inet cut out { type filter hook output priority -10; }; \
add rule inet cut out tcp dport 14000 counter reject'"


def ledgers(saved: Saved) -> Path:
    return load_site(saved.inventory).files / "ledgers"


def password(saved: Saved) -> str:
    return load_site(saved.inventory).secrets[SECRET].get_secret_value()


@pytest.mark.full
def test_restore_one_file(saved: Saved, tmp_path: Path) -> None:
    folder, path = f"{ROOT}/public/ota/a folder", "/public/ota/a folder/a package"
    package = f"{ROOT}/public/ota/panther/16/panther-ota_update-{CURRENT.number}.zip"
    saved.root(HOST, f"install -d -o {PLAN} -g {PLAN} '{folder}'; cp -a {package} '{ROOT}{path}'")
    saved.must("run", DATA)
    before = saved.root(HOST, ALL)
    saved.root(HOST, f"rm -r '{folder}'")
    titles = ("To your machine", "Put it back on the host")
    said = follow(saved, "restore-one-file", *titles, **OF, path=path, to=tmp_path / "to here")
    back = hashlib.sha256((tmp_path / f"to here{path}").read_bytes()).hexdigest()
    assert saved.root(HOST, f"sha256sum {package}").split()[0] == back
    assert "2 snapshots" in said
    assert saved.root(HOST, ALL) == before
    saved.root(HOST, f"rm -r '{folder}'")


def test_what_phones_are_offered_comes_from_its_repository(saved: Saved, tmp_path: Path) -> None:
    contents = f"cd {ROOT}/metadata; find . -type f -exec sha256sum {{}} + | sort; stat -c %U:%a . ota"
    before = saved.root(HOST, contents)
    saved.root(HOST, f"rm -r {ROOT}{FILE}; echo spoiled > {ROOT}/metadata/ota/shiba/shiba-stable")
    said = follow(saved, "restore-one-file", "What phones are offered", **OF, path=FILE, to=tmp_path / "none")
    assert f"{HOST}: brought up to date" in said
    assert saved.root(HOST, contents) == before


def test_restore_a_whole_data_set(saved: Saved) -> None:
    saved.must("run", DATA)
    before = saved.root(HOST, ALL)
    saved.root(HOST, f"rm -r {ROOT}/public/ota; echo spoiled > {ROOT}/public/{FILE.rpartition('/')[2]}")
    titles = ("Fetch it beside the data", "Put it in the place of the data", "When all is as it should be")
    said = follow(saved, "restore-a-whole-data-set", *titles, **OF, root=ROOT, paths=PATHS, halts="")
    assert "all is well" in said
    assert saved.root(HOST, ALL) == before
    assert saved.root(HOST, f"ls -A {ROOT}").split() == saved.root(HOST, f"ls {ROOT}").split()
    assert saved.root(HOST, f"systemctl is-active mainstay-backup@{PLAN}.timer") == "active"


@pytest.mark.full
def test_password_lost_and_git_has_it(saved: Saved) -> None:
    old, files = password(saved), load_site(saved.inventory).files
    git(files, "init", "-q")
    commit(files, "all")
    lose(saved)
    commit(files, "lost")
    said = follow(saved, "password-lost", "It was removed, and git has it", **lost(saved))
    assert password(saved) == old
    assert "snapshots" in said


@pytest.mark.full
def test_password_lost_and_the_host_has_it(saved: Saved) -> None:
    old = password(saved)
    lose(saved)
    editor = editing(saved.folder, f'echo \'{SECRET} = "{old}"\' >> "$1"')
    said = follow(saved, "password-lost", "The host still has it", editor=editor, **lost(saved))
    assert f'"password": "{old}"' in said
    assert password(saved) != old
    saved.must("run", DATA)
    saved.must("verify", DATA)


@pytest.mark.full
def test_password_lost_for_good(saved: Saved) -> None:
    lose(saved)
    bucket = saved.lab.root / "storage/data/mainstay"
    (bucket / HOST / PLAN).rename(bucket / "lost")
    said = follow(saved, "password-lost", "It is nowhere", **lost(saved))
    assert f"{SECRET}: made" in said
    assert "all is well" in said
    assert saved.root(VAULT, "ls /srv/vault/lost/*/config")


def lost(saved: Saved, control: str = "") -> dict[str, Any]:
    return {
        **OF,
        "files": load_site(saved.inventory).files,
        "secret": SECRET,
        "vault": VAULT,
        "ledgers": ledgers(saved),
        "control": control,
    }


def lose(saved: Saved) -> None:
    site = load_site(saved.inventory)
    custody.write(site, site.secrets, {SECRET: None})
    assert saved.mainstay("verify").returncode == 2


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=admin", "-c", "user.email=admin@example.org"]
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


def commit(folder: Path, what: str) -> None:
    git(folder, "config", "user.name", "admin")
    git(folder, "config", "user.email", "admin@example.org")
    git(folder, "add", "secrets.age")
    git(folder, "commit", "-q", "-m", what)


@pytest.mark.full
def test_disk_full(saved: Saved) -> None:
    as_hosts = "setpriv --reuid vault --regid vault --clear-groups"
    all_of_it = "$(( $(stat -f -c %a*%S /srv/vault) ))"
    saved.root(VAULT, f"{as_hosts} fallocate -l {all_of_it} {REPOSITORY_OF_IT}/junk || true")
    assert int(saved.root(VAULT, "df --output=avail /srv/vault | tail -1")) < 1000, "KiB that hosts may write"
    follow(saved, "disk-full", "Who took it", "Make room", vault=VAULT, **OF)
    saved.root(VAULT, f"rm {REPOSITORY_OF_IT}/junk")
    saved.must("run", DATA)
    saved.must("verify", DATA)


@pytest.mark.full
def test_disk_full_and_the_volume_grows(saved: Saved) -> None:
    size = disk(saved)
    toml = saved.inventory.with_suffix(".toml")
    document = tomlkit.parse(toml.read_text())
    document["hosts"][VAULT]["volumes"]["repositories"]["size_gb"] = 20
    toml.write_text(tomlkit.dumps(document))
    if not may_grow_while_mounted():
        saved.deploy("provision")
        grow_by_hand(saved)
    follow(saved, "disk-full", "Make the volume larger", vault=VAULT, **OF)
    assert disk(saved) > 1.8 * size
    saved.must("verify", DATA)


def may_grow_while_mounted() -> bool:
    """Linux lets nobody grow a mounted ext4 without CAP_SYS_RESOURCE, which containers often lack."""
    (held,) = re.findall(r"^CapEff:\s+(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(int(held, 16) >> 24 & 1)


def grow_by_hand(saved: Saved) -> None:
    """What the deploy would do while the volume is mounted; all other commands of the page are followed as ever."""
    device = saved.root(VAULT, "findmnt -n -o SOURCE /srv/vault")
    saved.root(VAULT, f"systemctl stop srv-vault.mount; e2fsck -f -p {device}; resize2fs {device}")
    saved.root(VAULT, "systemctl start srv-vault.mount vault@append vault@control vault@admin")


def disk(saved: Saved) -> int:
    return int(saved.root(VAULT, "df --output=size /srv/vault | tail -1"))


@pytest.mark.full
def test_host_compromised(saved: Saved) -> None:
    good = saved.must("restic", DATA, "snapshots", "--json")
    before = saved.root(HOST, ALL)
    saved.root(HOST, f"echo evil > {ROOT}/public/evil")
    saved.must("run", DATA)
    names = intrusion(saved, good)
    host_login = custody.host_secret(HOST)
    editor = editing(saved.folder, f"sed -i '/^{host_login} =/d' \"$1\"")
    titles = ("Look", "Shut it out", "A fresh host", "Its data, from before", "What the intruder left and knows")
    said = follow(saved, "host-compromised", *titles, editor=editor, **names)
    assert f"{host_login}: made" in said
    assert said.rstrip().endswith("all is well")
    assert saved.root(HOST, ALL) == before


def intrusion(saved: Saved, before: str) -> dict[str, Any]:
    good = [one["id"] for one in json.loads(before)]
    now = [one["id"] for one in json.loads(saved.must("restic", DATA, "snapshots", "--json"))]
    bad = next(one for one in now if one not in good)
    return {
        **OF,
        "files": load_site(saved.inventory).files,
        "vault": VAULT,
        "root": ROOT,
        "paths": PATHS,
        "good": good[-1],
        "bad": bad,
        "why": "intruder found on this host",
    }


@pytest.mark.full
def test_vault_lost(saved: Saved, tmp_path: Path) -> None:
    saved.must("copy", DATA)
    saved.must("run", DATA)
    not_copied = json.loads(saved.must("restic", DATA, "snapshots", "--json"))[-1]["id"]
    names = vault(saved, tmp_path / "restored", not_copied)
    lose_the_vault(saved)
    said = follow(saved, "vault-lost", "Meanwhile", **names)
    assert "second copy" in said
    assert (tmp_path / f"restored{FILE}").exists()
    follow(saved, "vault-lost", "A new vault", **names)
    said = follow(saved, "vault-lost", "What was not in the copy", **names)
    assert said.rstrip().endswith("all is well")


def vault(saved: Saved, to: Path, gone: str = "", control: str = "") -> dict[str, Any]:
    """The names of the page of the vault lost. The volume is the last that the vault was given."""
    volume, locked = list(load_site(saved.inventory).lock.hosts[VAULT].volumes.items())[-1]
    disk = f"/dev/disk/by-id/{locked.disk}"
    return {**OF, "vault": VAULT, "control": control, "volume": volume, "disk": disk, "to": to, "gone": gone}


def test_certificate_will_not_renew(saved: Saved) -> None:
    program, name = certificate.PROGRAM, "release.lab.example.org"
    names = {**OF, "dns": name, "program": program}
    saved.root(HOST, f"rm {certificate.CERTIFICATE}; python3 -I {program} placeholder; {CUT}")
    try:
        assert saved.ssh(HOST, "systemctl start mainstay-certificate.service").returncode
        said = follow(saved, "certificate-will-not-renew", "What is wrong", **names)
        assert "it was issued by itself" in said
        assert "gave no certificate" in said
        assert f"DNS:{name}" in said
    finally:
        saved.root(HOST, "nft delete table inet cut")
    said = follow(saved, "certificate-will-not-renew", "Mend it", "Get one now", "Another authority", **names)
    assert "\n404\n" in said
    assert "is due" not in said
    assert saved.root(HOST, f"python3 -I {program} due") == ""
    saved.root(HOST, "systemctl is-active nginx.service")
