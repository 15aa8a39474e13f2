"""Two release servers on this machine, to be audited: nginx with the role's own configuration, and their disks."""

import json
import shutil
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backup.certificate import new_key, self_signed
from inventories import keys, trusted
from inventories.inventory import LoadedSite, load_site
from lab import nginx
from lab.release_archive import COMMIT, RETIRED, Archive
from roles.common.publishing.servers import Place
from roles.release.tools.audit import client
from roles.release.tools.audit.audit import Target, Verdict, audit
from roles.release.tools.audit.reading import Record
from roles.release.tools.audit.truth import Truth, recorded

NAME = "release.example.org"
NAMES = ("release-1", "release-2")
SITE = """
[site]
name = "s"
domain = "example.org"
files = "{folder}/site"
ssh_user = "lab"

[settings.release]
retired = ["{retired}"]
metadata = "{folder}/metadata.git"
checksums_push = "{folder}/checksums.git"
"""
HOST = """
[hosts.{name}]
role = "release"
plan = "p"
region = "ams"
dns = ["release.example.org"]
volumes.content = {{ size_gb = 10, mount = "/srv/release" }}
"""


@dataclass
class Audited:
    """inventory: its repositories are whoever's who needs them; volumes, ports: by server."""

    archive: Archive
    inventory: Path
    volumes: dict[str, Path]
    ports: dict[str, int]
    tls: ssl.SSLContext
    record: Record = field(default_factory=lambda: Record({}, {}))
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def truth(self) -> Truth:
        return Truth(COMMIT, self.archive.metadata, recorded(self.archive.checksums), frozenset({RETIRED}))

    def targets(self) -> list[Target]:
        return [
            Target(
                client.Server(name, "127.0.0.1", port, NAME, self.tls),
                Place(name, str(self.volumes[name]), lambda *words: words),
            )
            for name, port in self.ports.items()
        ]

    def audit(self, *, deep: bool = False) -> Verdict:
        return audit(self.truth(), self.targets(), self.record, self.now, (lambda _: None) if deep else None)


@contextmanager
def audited(archive: Archive, folder: Path, spoilt: str = "") -> Iterator[Audited]:
    """Both in service. spoilt: locations that the second one has besides, in place of its retired devices."""
    site = _site(folder, "settings.release.retired = []\n" if spoilt else "")
    with ExitStack() as stack:
        volumes, ports = {}, {}
        for name in NAMES:
            volumes[name], scratch = folder / name / "volume", folder / name / "nginx"
            archive.write(volumes[name])
            scratch.mkdir()
            role = _spoilt(folder / "role", spoilt) if spoilt and name == NAMES[1] else nginx.ROLE
            certificate = folder / "site.pem"
            ports[name] = stack.enter_context(nginx.serving(site, name, volumes[name], scratch, certificate, role))
        yield Audited(archive, site.path, volumes, ports, trusted.context(site.files))


def _site(folder: Path, of_the_second: str) -> LoadedSite:
    """Its servers' certificate signs itself, and is its own authority."""
    files = folder / "site"
    files.mkdir(parents=True)
    key = new_key()
    certificate = self_signed(key, (NAME,))
    (folder / "site.pem").write_text(key + certificate)
    (files / trusted.ROOTS).write_text(certificate)
    (files / "admins.toml").write_text(f'[admins.lab]\nssh_keys = ["{keys.public_ssh(keys.new_ssh())} lab"]\n')
    hosts = {name: {"instance_id": name, "ipv4": f"127.0.0.{number}"} for number, name in enumerate(NAMES, 1)}
    (files / "lock.json").write_text(json.dumps({"hosts": hosts}))
    path = folder / "s.toml"
    path.write_text(
        SITE.format(folder=folder, retired=RETIRED) + "".join(HOST.format(name=name) for name in NAMES) + of_the_second
    )
    return load_site(path)


def _spoilt(folder: Path, locations: str) -> Path:
    shutil.copytree(nginx.ROLE / "tree", folder / "tree")
    site = folder / "tree/etc/nginx/http.d/release.conf.j2"
    before, marked, after = site.read_text().partition("    # <device>-<channel>")
    site.write_text(f"{before}{locations}{marked}{after}")
    return folder
