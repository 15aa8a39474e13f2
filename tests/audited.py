"""Two release servers on this machine, to be audited: nginx with the role's own configuration, and their disks."""

import shutil
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import roles.release
from backup.certificate import new_key, self_signed
from lab import nginx
from lab.release_archive import COMMIT, RETIRED, Archive
from roles.release.settings import Settings
from roles.release.tools.audit import client
from roles.release.tools.audit.audit import Target, Verdict, audit
from roles.release.tools.audit.reading import Record
from roles.release.tools.audit.truth import Truth, recorded
from roles.release.tools.servers import Place

ROLE = Path(roles.release.__file__).parent
NAME = "release.example.org"
NAMES = ("release-1", "release-2")


@dataclass
class Audited:
    """volumes, ports: by server. tls: None for plain http."""

    archive: Archive
    volumes: dict[str, Path]
    ports: dict[str, int]
    tls: ssl.SSLContext | None = None
    record: Record = field(default_factory=lambda: Record({}, {}))
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def truth(self, retired: frozenset[str] = frozenset({RETIRED})) -> Truth:
        return Truth(COMMIT, self.archive.metadata, recorded(self.archive.checksums), retired)

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
def audited(
    archive: Archive, folder: Path, spoilt: str = "", certificate: nginx.Certificate | None = None
) -> Iterator[Audited]:
    """Both in service. spoilt: locations that the second one has besides, in place of its retired devices."""
    with ExitStack() as stack:
        volumes, ports = {}, {}
        for name in NAMES:
            volumes[name] = folder / name / "volume"
            archive.write(volumes[name])
            role, settings = ROLE, Settings(retired=(RETIRED,))
            if spoilt and name == NAMES[1]:
                role, settings = _spoilt(folder / "role", spoilt), Settings()
            scratch = folder / name / "nginx"
            scratch.mkdir()
            ports[name] = stack.enter_context(nginx.serving(role, settings, volumes[name], scratch, certificate))
        tls = client.trusted(certificate.chain.parent) if certificate else None
        yield Audited(archive, volumes, ports, tls)


def certified(folder: Path) -> nginx.Certificate:
    """A certificate of the servers' name, which is its own authority, as the site's files have one."""
    key = new_key()
    (folder / "key.pem").write_text(key)
    (folder / client.ROOTS).write_text(self_signed(key, (NAME,)))
    return nginx.Certificate(folder / client.ROOTS, folder / "key.pem")


def _spoilt(folder: Path, locations: str) -> Path:
    shutil.copytree(ROLE / "tree", folder / "tree")
    site = folder / "tree/etc/nginx/http.d/release.conf.j2"
    before, marked, after = site.read_text().partition("    # <device>-<channel>")
    site.write_text(f"{before}{locations}{marked}{after}")
    return folder
