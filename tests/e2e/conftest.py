"""What several files share: a host for the suites of the primitives (test_common_*), HSMs (test_hsm_*), the program
that judges alert rules, and a btrfs."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.engine import LabConfig
from lab.go import run
from tests import bare_host
from tests.bare_host import BareHost
from tests.e2e.primitives import ASK, NGINX, SITE, Bench
from tests.hsm_saved import saved_site
from tests.hsm_site import Site, site
from tests.waiting import until

PROMETHEUS = Path.home() / ".cache/mainstay/prometheus"


@pytest.fixture(scope="module")
def bare(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHost]:
    folder = tmp_path_factory.mktemp("common")
    (host,) = bare_host.create(lab, ["common"], folder)
    Bench(host, folder).good('packages("install", {"nginx-light": None})')
    yield host
    host.destroy()


@pytest.fixture
def bench(bare: BareHost, tmp_path: Path) -> Bench:
    return Bench(bare, tmp_path)


@pytest.fixture
def served(bench: Bench) -> Bench:
    bench.file("/etc/nginx/conf.d/site.conf.j2", SITE)
    bench.good(NGINX)
    assert bench.host.ssh(ASK) == "one\n"
    return bench


@pytest.fixture(scope="session")
def set_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two HSMs that are as declared."""
    folder = tmp_path_factory.mktemp("set-up")
    with site(folder) as one:
        one.make()
    return folder


@pytest.fixture
def hsm(set_up: Path, tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, like=set_up) as one:
        yield one


@pytest.fixture(scope="module")
def signing_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """HSMs and the folder that was saved of them."""
    with saved_site(tmp_path_factory.mktemp("host")) as one:
        yield one


@pytest.fixture
def medium(signing_host: Site) -> Path:
    return signing_host.folder / "medium"


@pytest.fixture(scope="session")
def promtool() -> str:
    """promtool of the machine or, out of Debian's package, without installing (and so starting) Prometheus itself."""
    program = PROMETHEUS / "usr/bin/promtool"
    if found := shutil.which("promtool"):
        return found
    if not program.exists():
        PROMETHEUS.mkdir(parents=True, exist_ok=True)
        run("apt-get", "download", "-q", "prometheus", cwd=PROMETHEUS)
        [package] = PROMETHEUS.glob("prometheus_*.deb")
        run("dpkg-deb", "-x", package, PROMETHEUS, cwd=PROMETHEUS)
        package.unlink()
    return str(program)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A btrfs of its own."""
    image, mount = tmp_path / "image", tmp_path / "volume"
    mount.mkdir()
    with image.open("wb") as disk:
        disk.truncate(300_000_000)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    yield mount
    # A program that a killed one began may be ending still.
    until("nothing uses the volume", lambda: subprocess.run(["umount", mount], check=False).returncode == 0)
