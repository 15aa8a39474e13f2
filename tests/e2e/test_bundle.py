"""A bundle: made twice, spoilt in each way, and applied on a host that no network leads to."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bundle import iso, openpgp
from bundle.key import CREATED
from bundle.verifying import Wrong
from inventories.files import sha256
from lab.engine import LabConfig
from lab.hosts import LabEngine
from tests.bundle_site import HOST, PASSWORD, ROLE, Clone, clone
from tests.lab_hosts import LabCloud
from tests.labs import own_lab
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
FIRST, LATER = 1_790_000_000, 1_790_000_100
MEDIUM = "/media/bundle"
KEY = "/media/key"
APPLY = f"sh {MEDIUM}/apply --identity {KEY} 2>&1"
VERSION, OLD = "dpkg-query -Wf '${Version}' nullmailer", "1:2.2-1"
STATE = "dpkg-query -W; find /etc /opt /var/lib/mainstay/bundle -type f -exec sha256sum {} + 2>/dev/null | sort"
"""Packages and files, but for what services write."""
APT = (
    "find /etc/apt -type f ! -name '52mainstay' -exec sha256sum {} + | sort; ls /var/lib/apt/lists; "
    "apt-config dump | grep -v -e ^APT::Compressor -e ^Dir::Bin"
)
"""How apt is configured, but for which programs it finds, and what it knows."""


@dataclass(frozen=True)
class World:
    """A clone, two bundles of one commit of it, and one of a later commit."""

    clone: Clone
    folder: Path
    lab: LabConfig

    def bundle(self, name: str) -> Path:
        """Made when it is first asked for, of the commit that is there."""
        path = self.folder / name
        if not path.exists():
            self.clone.make(path)
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bundle")
    with own_lab("bundle") as lab:
        made = clone(folder)
        made.must("key")
        made.must("lock", "--for", ROLE)
        made.commit("A site without network", FIRST)
        for name in ("one", "two", "one.iso"):
            made.make(folder / name)
        yield World(made, folder, lab)


def hashes(folder: Path) -> dict[str, tuple[str, int, float]]:
    """Content, mode and time of all files."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(one.relative_to(folder)): (sha256(one), one.stat().st_mode, one.stat().st_mtime) for one in paths}


def test_from_the_same_commit_and_lock_come_the_same_bytes(world: World) -> None:
    assert hashes(world.folder / "one") == hashes(world.folder / "two")
    iso.write(world.folder / "two", world.folder / "two.iso", "off-base", FIRST)
    assert sha256(world.folder / "one.iso") == sha256(world.folder / "two.iso")


def test_what_was_made_is_right_as_a_folder_and_as_an_image(world: World) -> None:
    for name in ("one", "one.iso"):
        assert "right: base of off for off-1 at" in world.clone.must("verify", str(world.folder / name))


def test_a_bundle_has_no_secret_in_the_clear_and_no_other_site(world: World) -> None:
    one = world.folder / "one"
    names = subprocess.run(["tar", "-tf", one / "source.tar"], capture_output=True, text=True, check=True).stdout
    assert "inventories/off/secrets.age" in names
    assert "inventories/prod" not in names
    assert PASSWORD.encode() not in (one / "source.tar").read_bytes()


def changed(folder: Path) -> None:
    with next(folder.glob("apt/sudo_*.deb")).open("r+b") as file:
        file.seek(1000)
        file.write(b"x")


def missing(folder: Path) -> None:
    next(folder.glob("apt/sudo_*.deb")).unlink()


def added(folder: Path) -> None:
    shutil.copy(next(folder.glob("apt/sudo_*.deb")), folder / "apt/other_1_all.deb")


def unsigned(folder: Path) -> None:
    (folder / "SHA256SUMS.sig").unlink()


def rehashed(folder: Path) -> None:
    """As somebody does who has changed a file, and not the key."""
    changed(folder)
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    kept = sorted({*names} - {"SHA256SUMS", "SHA256SUMS.sig"})
    sums = subprocess.run(["sha256sum", *kept], cwd=folder, capture_output=True, text=True, check=True).stdout
    (folder / "SHA256SUMS").write_text(sums)


SPOILT: list[tuple[Callable[[Path], None], Wrong, str]] = [
    (changed, Wrong.CHANGED, "has been changed"),
    (missing, Wrong.MISSING, "is missing"),
    (added, Wrong.ADDED, "is none of the bundle"),
    (unsigned, Wrong.UNSIGNED, "is not there"),
    (rehashed, Wrong.CHANGED, "it or its signature was changed"),
]


@pytest.mark.parametrize(
    ("spoil", "wrong", "words"), [SPOILT[0], *(pytest.param(*one, marks=pytest.mark.full) for one in SPOILT[1:])]
)
def test_what_was_done_to_a_bundle_is_named(
    world: World, tmp_path: Path, spoil: Callable[[Path], None], wrong: Wrong, words: str
) -> None:
    spoilt = tmp_path / "bundle"
    shutil.copytree(world.folder / "one", spoilt)
    spoil(spoilt)
    done = world.clone.mainstay("verify", str(spoilt))
    assert (done.returncode, words in done.stdout) == (wrong, True), done.stdout + done.stderr
    own = subprocess.run(["sh", spoilt / "verify"], capture_output=True, check=False)
    assert own.returncode in (wrong, Wrong.SIGNER)


def test_a_bundle_of_another_key_is_refused(world: World, tmp_path: Path) -> None:
    keyring = world.clone.files / "bundle.pgp"
    kept = keyring.read_bytes()
    try:
        keyring.unlink()
        (world.clone.files / "secrets.age").rename(tmp_path / "secrets.age")
        world.clone.must("key")
        done = world.clone.mainstay("verify", str(world.folder / "one"))
    finally:
        keyring.write_bytes(kept)
        shutil.move(tmp_path / "secrets.age", world.clone.files / "secrets.age")
    assert (done.returncode, "not known here" in done.stdout) == (Wrong.SIGNER, True)


def test_what_is_not_committed_is_in_no_bundle(world: World) -> None:
    stray = world.clone.files / "stray"
    stray.touch()
    done = world.clone.mainstay("make", "--for", ROLE, "--output", str(world.folder / "stray"))
    stray.unlink()
    assert (done.returncode, "is not as committed" in done.stderr) == (2, True)


@dataclass(frozen=True)
class Offline:
    """A host whose links are down, as somebody sees it who stands at its console."""

    init: int
    """The process id of its init on this machine."""

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.init}/root")

    def words(self, command: str) -> list[str]:
        return ["nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--net", "--pid", "sh", "-ec", command]

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb"}
        return subprocess.run(
            self.words(command), env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def must(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def insert(self, bundle: Path) -> None:
        """The medium, in the place of the one before."""
        shutil.rmtree(self.root / MEDIUM[1:], ignore_errors=True)
        shutil.copytree(bundle, self.root / MEDIUM[1:])

    def apply(self) -> "subprocess.CompletedProcess[str]":
        return self.run(APPLY)

    def kill(self, point: str) -> None:
        """Begins to apply, and kills it with all that it started once a path is there."""
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        with subprocess.Popen(
            self.words(f"exec {APPLY}"),
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        ) as running:

            def reached() -> bool:
                assert running.poll() is None, f"ended before {point}"
                return any(self.root.glob(point))

            until(point, reached, timeout_s=900, every_s=0.02)
            os.killpg(running.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def offline(world: World) -> Iterator[Offline]:
    cloud = LabCloud(world.lab, world.folder)
    host = cloud.host(HOST)
    engine = LabEngine(world.lab)
    engine.cut(host.id, off=True)
    there = Offline(engine.status(host.id).pid)
    assert there.run("ping -c1 -W1 deb.debian.org").returncode != 0
    there.insert(world.folder / "one")
    shutil.copy(world.clone.identity, there.root / KEY[1:])
    yield there
    cloud.delete_all()


KILLED_AT = (
    "run/mainstay-bundle/apt.conf",
    "var/lib/dpkg/info/python3.13-venv.list",
    "opt/mainstay-bundle/*/.venv/bin/pip",
    "etc/chrony/chrony.conf",
)
"""Paths that come to be while packages are brought up to date, Python packages installed, the role deployed."""


def test_a_spoilt_bundle_changes_nothing_on_the_host(world: World, offline: Offline, tmp_path: Path) -> None:
    spoilt = tmp_path / "bundle"
    shutil.copytree(world.folder / "one", spoilt)
    changed(spoilt)
    offline.insert(spoilt)
    before = offline.must(STATE)
    done = offline.apply()
    offline.insert(world.folder / "one")
    assert (done.returncode, "sudo_" in done.stdout) == (Wrong.CHANGED, True)
    assert offline.must(STATE) == before


def test_a_host_is_deployed_without_network_however_often_it_is_killed(offline: Offline) -> None:
    before = offline.must(APT)
    for point in KILLED_AT:
        assert not any(offline.root.glob(point))
        offline.kill(point)
        left = offline.must(APT).splitlines()
        assert [line for line in before.splitlines() if line not in left] == []
        assert MEDIUM not in "".join(left)
    assert "== done" in offline.must(APPLY)
    assert "permitrootlogin no" in offline.must("sshd -T")
    assert PASSWORD in offline.must("cat /etc/nullmailer/remotes")
    assert offline.must("systemctl is-active nftables chrony").split() == ["active"] * 2
    assert [line for line in before.splitlines() if line not in offline.must(APT)] == []


def test_applied_again_it_changes_nothing(offline: Offline) -> None:
    before = offline.must(STATE)
    told = offline.must(APPLY)
    assert re.search(r"Grand total +(\d+) +- +- +\1 ", told), told
    assert offline.must(STATE) == before


def test_without_the_key_on_the_other_medium_secrets_stay_shut(offline: Offline) -> None:
    done = offline.run(f"sh {MEDIUM}/apply")
    assert (done.returncode, "none of your keys can decrypt it" in done.stdout + done.stderr) == (1, True)


@pytest.mark.full
def test_a_later_bundle_upgrades_and_an_earlier_one_is_refused_unless_told(world: World, offline: Offline) -> None:
    version = offline.must(VERSION)
    offline.must(f"sed -i '/^Package: nullmailer$/,/^$/s/^Version: .*/Version: {OLD}/' /var/lib/dpkg/status")
    toml = world.clone.files.with_suffix(".toml")
    toml.write_text(toml.read_text().replace('user = "hosts"', 'user = "others"'))
    world.clone.commit("Another user", LATER)
    offline.insert(world.bundle("later"))
    offline.must(APPLY)
    assert offline.must(VERSION) == version != OLD
    assert "--user=others" in offline.must("cat /etc/nullmailer/remotes")

    offline.insert(world.folder / "one")
    done = offline.apply()
    assert (done.returncode, "--older applies it" in done.stdout) == (Wrong.OLDER, True)
    assert "--user=others" in offline.must("cat /etc/nullmailer/remotes")
    offline.must(f"{APPLY} --older")
    assert "--user=hosts" in offline.must("cat /etc/nullmailer/remotes")


def test_a_host_that_knows_the_sites_key_takes_no_other(world: World, offline: Offline, tmp_path: Path) -> None:
    forged = tmp_path / "bundle"
    shutil.copytree(world.folder / "one", forged)
    secret = Ed25519PrivateKey.generate()
    certificate = openpgp.certificate(secret, CREATED, "Bundles of the site off")
    (forged / "bundle.pgp").write_bytes(certificate)
    rehashed(forged)
    [key] = openpgp.keyring(certificate)
    (forged / "SHA256SUMS.sig").write_bytes(openpgp.sign(secret, key, (forged / "SHA256SUMS").read_bytes(), FIRST))
    assert subprocess.run(["sh", forged / "verify"], capture_output=True, check=False).returncode == 0
    offline.insert(forged)
    assert offline.apply().returncode == Wrong.SIGNER
