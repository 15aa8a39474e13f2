"""What gixy-ng, a scanner of nginx configurations, says of what the web roles write."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from roles.common import nginx, tree_source
from roles.gerrit import deploy as gerrit
from roles.gerrit.settings import Settings as Gerrit
from roles.gitmirror import deploy as gitmirror
from roles.gitmirror.settings import Settings as Mirror
from roles.release import deploy as release
from roles.release.settings import Settings as Release
from roles.web import deploy as web
from roles.web import maintenance
from roles.web.archive import COMPRESSED
from roles.web.settings import Settings as Web

MIRROR = Mirror(source="https://review.example.org", volume="content")
ALICE = {"name": "Alice", "email": "alice@example.org"}
GERRIT = Gerrit.model_validate(
    {
        "volume": "content",
        "war": {"version": "3.13.8", "sha256": "0" * 64, "source": "/x.war"},
        "server_id": "3b5e7f5c-5a0c-4a86-9d1c-0a4f3f6a2f11",
        "email": "gerrit@example.org",
        "auth": {"type": "http", "passwords": "x", "people": {"alice": ALICE}},
    }
)
SITES: dict[str, tuple[ModuleType, nginx.HttpSettings, dict[str, object]]] = {
    "release": (
        release,
        Release(retired=("sunfish",), installer_origins=("https://install.example.org",)),
        {"mount": "/srv/content"},
    ),
    "gitmirror": (gitmirror, MIRROR, {"mount": "/srv/content", "mount_unit": "srv-content.mount"}),
    "web": (
        web,
        Web(redirects={"/old": "/new"}),
        {"redirects": Web(redirects={"/old": "/new"}).places(), "compressed": COMPRESSED},
    ),
    "web in maintenance": (
        web,
        Web(maintenance=True),
        {"redirects": {}, "compressed": COMPRESSED, "in_maintenance": maintenance.context(web.DOT_DIRECTORIES)},
    ),
    "gerrit": (
        gerrit,
        GERRIT,
        {
            "names": ("www.example.org",),
            "http_port": 8081,
            "ssh_port": 29418,
            "header": "X-H",
            "passwords": gerrit.PASSWORDS,
        }
        | dict.fromkeys(("mount", "mount_unit", "site", "account", "metrics"), "x")
        | {"war": "/x.war"},
    ),
}
HOST = {
    "role": "release",
    "plan": "p",
    "region": "ams",
    "dns": ["www.example.org"],
    "volumes": {"content": {"size_gb": 10, "mount": "/srv/content"}},
}
SITE = {"site": {"name": "x", "domain": "example.org"}, "hosts": {"a": HOST}}
NOT_HERE = {
    "ssl_ecdh_curve": "OpenSSL 3.5, which Debian 13 has, knows the group",
    "try_files_is_evil_too": "metadata is exchanged as a whole, so that no file of it may be kept open",
    "worker_rlimit_nofile_vs_connections": "the unit's LimitNOFILE is that limit: the sandbox lets nginx set none",
}
"""Findings, and why they are none."""


def written(role: ModuleType, settings: nginx.HttpSettings, more: dict[str, object], folder: Path) -> Path:
    """The configuration of a host below a folder, with includes that lead there; the main file."""
    loaded = LoadedSite(Path("x.toml"), Fleet.model_validate(SITE))
    wanted = tree_source.wanted(
        Path(role.__file__ or "").parent / "tree",
        settings.model_dump() | more,
        generated=nginx.files(loaded, "a", settings, role.METHODS, getattr(role, "DOT_DIRECTORIES", ())),
        directories=(),
        absent=(),
        modes={},
        owners={},
        secret=(),
        validate={},
    )
    for file in wanted.files:
        if file.path.startswith("/etc/nginx/"):
            path = folder / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content.decode().replace("include /", f"include {folder}/"))
    for made in ("etc/nginx/mime.types", *(f"{nginx.COUNTRIES[1:]}/{name}.conf" for name in ("ipv4", "ipv6"))):
        (folder / made).parent.mkdir(parents=True, exist_ok=True)
        (folder / made).touch()
    return folder / "etc/nginx/http.conf"


def findings(config: Path) -> list[str]:
    words = [sys.executable, "-m", "gixy.cli.main", "-f", "json", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "WARNING" not in done.stderr, done.stderr
    return [found["plugin"] for found in json.loads(done.stdout)]


@pytest.mark.parametrize("role", SITES)
def test_a_scanner_of_configurations_finds_nothing(role: str, tmp_path: Path) -> None:
    assert set(findings(written(*SITES[role], tmp_path))) <= NOT_HERE.keys()


def test_the_scanner_reads_what_is_included(tmp_path: Path) -> None:
    config = written(*SITES["release"], tmp_path)
    shared = tmp_path / "etc/nginx/server.inc"
    shared.write_text(shared.read_text() + "location /bad { return 302 http://$host$uri; }\n")
    assert "http_splitting" in findings(config)
