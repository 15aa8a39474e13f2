"""The runbook of a new signing host, followed to the letter in a lab: on a host that ssh leads to, and on one that no
network does."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from inventories.inventory import load_site
from lab.engine import LabConfig
from lab.hosts import LabEngine
from roles.signing.program import DECLARATION
from tests import hsm_site
from tests.bundle_site import HOST as OFFLINE
from tests.bundle_site import NAME, TOML, clone
from tests.lab_hosts import Host, LabCloud
from tests.labs import own_lab
from tests.runbooks.reader import SHELL, Runbook, follow, follow_in
from tests.saved_site import Saved
from tests.signing_site import HOST, SERIALS, signing_site

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1800)]
PAGE = "signing-new-host"
MEDIUM, IDENTITY, PUBLIC = "/media/bundle", "/media/key/id_ed25519", "/media/key/id_ed25519.pub"
OFFLINE_TOML = f"""\
{TOML.replace('role = "base"', 'role = "signing"')}
[settings.base]
offline = true
time_servers = []
reboot = false

[settings.signing]
hsms = ["{SERIALS[0]}", "{SERIALS[1]}"]
"""
STICK = "0951:1666 E0D55EA5741BF4A1"
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb"}
CONNECTORS = {"primary": "http://127.0.0.1:12345", "backup": "http://127.0.0.1:12346"}


@pytest.fixture(scope="module")
def lab() -> Iterator[LabConfig]:
    with own_lab("signing-page", prepared=True) as config:
        yield config


class Console:
    """Of a host, as somebody sees it who stands there."""

    def __init__(self, lab: LabConfig, host: Host) -> None:
        self._init = LabEngine(lab).status(host.id).pid
        self.root = Path(f"/proc/{self._init}/root")

    @property
    def shell(self) -> list[str]:
        return ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", *SHELL]

    def follow(self, *titles: str, **names: Any) -> str:
        return follow_in(self.shell, {"env": CLEAN}, PAGE, *titles, **names)

    def must(self, command: str) -> str:
        done = subprocess.run([*self.shell, command], env=CLEAN, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def insert(self, path: Path, where: str) -> None:
        """From a medium."""
        to = self.root / where[1:]
        to.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, to)


def names(**of: Any) -> dict[str, Any]:
    """Of the page, those that are of no use left empty."""
    return dict.fromkeys(Runbook(PAGE).names, "") | of


def test_a_new_host_that_ssh_leads_to(lab: LabConfig, tmp_path: Path) -> None:
    site = signing_site(lab, tmp_path)
    loaded = load_site(site.inventory)
    declared = loaded.files / "hsm.toml"
    declared.write_text(hsm_site.DECLARATION.format(**CONNECTORS))
    assert loaded.ssh_key
    public = subprocess.run(["ssh-keygen", "-y", "-f", loaded.ssh_key], capture_output=True, text=True, check=True)
    (tmp_path / "admin.pub").write_text(public.stdout)
    cloud = LabCloud(lab, tmp_path)
    host = cloud.host(HOST, tags=["role:signing"])
    console = Console(lab, host)
    console.must(f"useradd --create-home --shell /bin/bash {loaded.ssh_user}")
    console.insert(tmp_path / "admin.pub", PUBLIC)
    of = names(host=HOST, admin=loaded.ssh_user, public=PUBLIC)
    shown = console.follow("Online: let yourself in", **of)
    [host_key] = [line for line in shown.splitlines() if line.startswith("ssh-ed25519 ")]
    document = tomlkit.parse(site.inventory.with_suffix(".toml").read_text())
    document["hosts"] = {HOST: {"role": "signing", "address": host.ipv4, "host_keys": [host_key]}}
    site.inventory.with_suffix(".toml").write_text(tomlkit.dumps(document))
    del of["MAINSTAY_INVENTORY"]
    saved = Saved(site.inventory, tmp_path, lab)
    said = follow(saved, PAGE, "Online: deploy", "Prove it", **of)
    assert '"disk_encrypted"' in said
    assert "not checked here" in said
    declared.write_text(declared.read_text().replace("expires_days = 90", "expires_days = 60"))
    toml = site.inventory.with_suffix(".toml")
    toml.write_text(toml.read_text().replace("hsms = [", f'media = ["{STICK}"]\nhsms = [', 1))
    follow(saved, PAGE, "A change", **of)
    vendor, serial = STICK.split()
    assert f'allow id {vendor} serial "{serial}"' in console.must("cat /etc/usbguard/rules.conf")
    assert "install usb_storage" not in console.must("modprobe --showconfig")
    assert console.must(f"cat {DECLARATION}") == declared.read_text().strip()
    cloud.delete_all()


def test_a_new_host_that_no_network_leads_to(lab: LabConfig, tmp_path: Path) -> None:
    made = clone(tmp_path, OFFLINE_TOML)
    (made.files / "hsm.toml").write_text(hsm_site.DECLARATION.format(**CONNECTORS))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mainstay").write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n')
    (programs / "mainstay").chmod(0o755)
    who = {f"GIT_{one}_{what}": "test@example.org" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = made.environment | who
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "As it lies here")
    bundle = tmp_path / "signing"
    of = names(files=made.files, bundle=bundle, medium=MEDIUM, identity=IDENTITY, message="The signing host")
    place = {"cwd": made.path, "env": environment}
    of["MAINSTAY_INVENTORY"] = environment["MAINSTAY_INVENTORY"]
    said = follow_in(SHELL, place, PAGE, "Offline: make the bundle", **of)
    assert f"right: signing of {NAME} for {OFFLINE} at" in said
    cloud = LabCloud(lab, tmp_path)
    host = cloud.host(OFFLINE)
    LabEngine(lab).cut(host.id, off=True)
    console = Console(lab, host)
    console.insert(bundle, MEDIUM)
    console.insert(made.identity, IDENTITY)
    said = console.follow("Offline: at the console", **of)
    assert "== done" in said
    assert '"disk_encrypted"' in said
    assert "0999000001" in console.must("cat /etc/usbguard/rules.conf")
    assert console.must(f"cat {DECLARATION}") == (made.files / "hsm.toml").read_text().strip()
    listening = console.must("ss -tlnH")
    assert not [line for line in listening.splitlines() if not line.split()[3].startswith(("127.", "[::1]"))], listening
    assert "hsm" in console.must("/usr/local/bin/mainstay --help")
    cloud.delete_all()
