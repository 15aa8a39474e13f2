"""An archive outlives its host, nginx never serves in its place, and nothing but a blank disk is ever formatted."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import tomlkit

from cloud import provision
from cloud.converge import REPOSITORY, Converged, converge
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import ssh_config
from lab import load
from lab.sample import CURRENT
from lab.sites import derive, only
from tests.labs import own_lab
from tests.roles.web_client import clients
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
HOST = "release-1"
METADATA = "/ota/panther/panther-stable"


@dataclass
class Release:
    """A site of one release server, its archive loaded."""

    inventory: Path

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def deploy(self, name: str = "release", *options: str) -> Converged:
        return converge(self.inventory, name, *options)

    def root(self, command: str) -> str:
        config = self.inventory.parent / "ssh_config"
        config.write_text(ssh_config(self.site))
        words = ["ssh", "-F", str(config), HOST, "sudo", "sh", "-ec", f"'{command}'"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def disk(self, volume: str) -> str:
        return f"/dev/disk/by-id/{self.site.lock.hosts[HOST].volumes[volume].disk}"

    def status(self, path: str = METADATA) -> int:
        """By default of a phone's first request; 0 when nobody answers."""
        try:
            return clients(self.site, HOST)["IPv4"].status(path)
        except requests.ConnectionError:
            return 0

    def booted(self) -> bool:
        """Whether the host lets its admin in and has started all that it will."""
        try:
            return self.root("systemctl is-system-running --wait || true").strip() in ("running", "degraded")
        except subprocess.CalledProcessError:
            return False


def only_release(document: Any) -> None:
    """With production's filesystem, the rehearsal's is ext4; and a second volume, of the same size."""
    only(document, HOST)
    del document["settings"]["web"]
    content = document["hosts"][HOST].pop("volumes").unwrap()["content"] | {"filesystem": "xfs"}
    spare = content | {"mount": "/srv/spare", "filesystem": "btrfs"}
    document["hosts"][HOST]["volumes"] = {"content": content, "spare": spare}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with own_lab("volume", prepared=True) as config:
        made = Release(derive(config, tmp_path_factory.mktemp("volume"), only_release))
        for deploy in ("provision", "release"):
            done = made.deploy(deploy)
            assert done.ok, done.output
        load.content(made.site)
        yield made


def test_a_second_run_changes_nothing(release: Release) -> None:
    assert release.deploy().changed == ()


def test_of_two_volumes_of_one_size_each_is_its_own(release: Release) -> None:
    for volume, kind in (("content", "xfs"), ("spare", "btrfs")):
        mounted = release.root(f"findmnt -nro SOURCE,FSTYPE /srv/{'release' if volume == 'content' else volume}")
        assert mounted.split() == [release.root(f"readlink -f {release.disk(volume)}").strip(), kind]


def test_the_archives_owner_can_link_within_it_and_to_nothing_else(release: Release) -> None:
    package = f"panther-ota_update-{CURRENT.number}.zip"
    links = {"panther-ota_update-1.zip": package, "panther-ota_update-2.zip": "/etc/passwd"}
    for name, target in links.items():
        release.root(f"cd /srv/release/public/ota/panther/16; ln -s {target} {name}; chown -h release {name}")
    assert [release.status(f"/ota/panther/16/{name}") for name in links] == [200, 404]
    release.root(f"cd /srv/release/public/ota/panther/16; rm {' '.join(links)}")


def test_an_archive_survives_its_host_and_belongs_to_the_new_ones_user(release: Release) -> None:
    before = release.root("cd /srv/release && find public metadata -type f -exec sha256sum {} + | sort")
    # the ids of an old host's users mean nothing on a new one
    release.root("chown -R 4242:4242 /srv/release")
    for deploy, *options in (("provision", "--data", f"reinstall=host/{HOST}"), ("release",)):
        done = release.deploy(deploy, *options)
        assert done.ok, done.output
    assert release.root("cd /srv/release && find public metadata -type f -exec sha256sum {} + | sort") == before
    assert release.root("find /srv/release ! -user release") == ""
    assert release.status() == 200


def test_without_its_volume_nginx_answers_nothing_and_the_host_still_boots(release: Release) -> None:
    api = provision.client(release.site)
    block = release.site.lock.hosts[HOST].volumes["content"].id
    instance = release.site.lock.hosts[HOST].instance_id
    api.ensure(f"/blocks/{block}/detach", {"live": False}, lambda: False)
    until("the host boots without its volume", release.booted)
    assert release.status() == 0
    api.ensure(f"/blocks/{block}/attach", {"instance_id": instance, "live": False}, lambda: False)
    until("the archive is served again, by itself", lambda: release.status() == 200)


def test_a_larger_volume_is_used_to_its_end(release: Release) -> None:
    inventory = release.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(inventory.read_text())
    document["hosts"][HOST]["volumes"]["content"]["size_gb"] = 12
    inventory.write_text(tomlkit.dumps(document))
    for deploy in ("provision", "release"):
        done = release.deploy(deploy)
        assert done.ok, done.output
    assert int(release.root("findmnt -bno SIZE /srv/release")) > 11 * 2**30
    assert release.deploy().changed == ()


def test_a_disk_that_holds_anything_is_never_formatted(release: Release) -> None:
    disk = release.disk("content")
    release.root(f"systemctl stop srv-release.mount; wipefs -qa {disk}; mkfs.ext4 -q -L stranger {disk}")
    done = release.deploy()
    assert not done.ok
    assert "ext4 labelled stranger" in done.output
    assert release.root(f"blkid -p -s LABEL -o value {disk}").strip() == "stranger"
    assert release.status() == 0
    release.root(f"wipefs -qa {disk}; echo data | dd of={disk} bs=1M seek=5 conv=notrunc status=none")
    assert "unsigned" in release.deploy().output
    [words] = re.findall(r"`(wipefs -a DISK && dd [^`]*)`", (REPOSITORY / "roles/release/README.md").read_text())
    release.root(words.replace("DISK", disk))
    assert release.deploy().ok
    assert release.root(f"blkid -p -s LABEL -o value {disk}").strip() == "content"
