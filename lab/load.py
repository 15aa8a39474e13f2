"""The sample content onto the lab's volumes, as the admin over ssh. For labs alone; publishing is something else.

Also the lab's Gerrit onto control hosts, which drill it: production's is fetched from where all the world has it.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from backup.custody import CONTROL_ROLE
from backup.reach import reach
from inventories.inventory import LoadedSite
from inventories.ssh import configured
from lab import repositories, sample
from lab.engine import LabConfig
from lab.fetch import lab_of
from roles.common import nginx
from roles.common.publishing.hearing import Nobody
from roles.common.publishing.servers import ServerError
from roles.gerrit.settings import Settings
from roles.gerrit.tools import server as gerrit
from roles.release.archive import METADATA, PUBLIC
from roles.release.tools.volume import COMMIT
from roles.web.tools import publish
from roles.web.tools import site as servers
from roles.web.tools.content import read

TIMEOUT_SECONDS = 120


class LoadError(Exception):
    """Content did not reach a host; has the host's own words."""


def archive(config: LabConfig, target: Path) -> None:
    """The sample archive as a release server has it: its metadata is the first commit of the lab's repository."""
    sample.packages(target / PUBLIC)
    sample.metadata(target / METADATA)
    mark = target / METADATA / COMMIT
    mark.write_text(f"{repositories.METADATA.first(config)}\n")
    os.utime(mark, (sample.CURRENT.timestamp, sample.CURRENT.timestamp))


CONTENT: dict[str, Callable[[LabConfig, Path], None]] = {"release": archive}


def content(site: LoadedSite) -> str:
    """Loads every host that has not got its part yet; returns what was done, in words. Raises LoadError."""
    loaded = 0
    hosts = [(name, host) for name, host in site.fleet.hosts.items() if host.role in CONTENT]
    with tempfile.TemporaryDirectory() as scratch, configured(site) as config:
        for name, host in hosts:
            source = Path(scratch) / host.role
            if not source.exists():
                (source / PUBLIC).mkdir(parents=True)
                CONTENT[host.role](lab_of(site), source)
            settings = site.settings(name)[host.role]
            assert isinstance(settings, nginx.HttpSettings)
            mount = nginx.content_volume(site, name, settings).mount
            loaded += _load(["ssh", "-F", str(config), name], source, mount, owner=host.role)
        loaded += sum(_bring_war(["ssh", "-F", str(config), name], site) for name in site.fleet.with_role(CONTROL_ROLE))
    loaded += _publish(site)
    return f"{loaded} hosts loaded" if loaded else "nothing to load"


def _bring_war(ssh: list[str], site: LoadedSite) -> bool:
    """Gerrit's, where it is on this machine. Whether it had to be sent."""
    if not site.fleet.with_role(gerrit.ROLE):
        return False
    settings = site.settings(gerrit.host_of(site))[gerrit.ROLE]
    assert isinstance(settings, Settings)
    path, fresh = settings.war.source, f"{settings.war.source}.new"
    there = f"echo '{settings.war.sha256}  {path}' | sha256sum --check --status"
    bring = f"install -d {Path(path).parent} && cat >{fresh} && chmod 0644 {fresh} && mv -T {fresh} {path}"
    with Path(path).open("rb") as war:
        script = f"{there} && echo there && exit; sudo sh -ec '{bring}'"
        done = subprocess.run([*ssh, script], stdin=war, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode:
        raise LoadError(f"{ssh[-1]}: loading {path}: {done.stderr.decode().strip()}")
    return done.stdout.strip() != b"there"


def _publish(site: LoadedSite) -> int:
    """The sample as the website's first release. Returns on how many servers: none when any serves one already."""
    if not site.fleet.with_role(servers.ROLE):
        return 0
    with tempfile.TemporaryDirectory() as scratch, reach(site) as way:
        source, run = Path(scratch) / "web", servers.run(way, Nobody())
        sample.website(source)
        try:
            if any(found["served"] for found in publish.status(run).values()):
                return 0
            publish.publish(run, read(source, Path(scratch) / "packed"))
        except (ServerError, publish.PublishError) as error:
            raise LoadError(str(error)) from None
    return len(run.places)


def _load(ssh: list[str], source: Path, mount: str, *, owner: str) -> bool:
    """Whether anything had to be sent: the digest of what a host got is kept beside its content."""
    digest = _digest(source)
    mark = f"{mount}/sample.sha256"
    unpack = f"tar -x -C {mount} && echo {digest} > {mark}"
    script = (
        f"mountpoint -q {mount} && grep -qsx {digest} {mark} && echo there && exit; sudo -u {owner} sh -ec '{unpack}'"
    )
    packed = subprocess.run(
        ["tar", "-c", "--owner=0", "--group=0", "-C", str(source), "."], capture_output=True, check=True
    ).stdout
    done = subprocess.run([*ssh, script], input=packed, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode:
        raise LoadError(f"{ssh[-1]}: loading {mount}: {done.stderr.decode().strip()}")
    return done.stdout.strip() != b"there"


def _digest(source: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(source)} {path.stat().st_size} {int(path.stat().st_mtime)}\n".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()
