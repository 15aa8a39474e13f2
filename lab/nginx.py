"""nginx of Debian 13 on this machine, configured as a release server's: for tests and benchmarks that need no host.

What differs from a host: listeners and certificate, paths, and the user, which is whoever runs it.
"""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import roles.release
from inventories.inventory import LoadedSite
from lab import tools
from lab.engine import EngineError
from roles.common import nginx
from roles.common.nginx.certificate import CERTIFICATE
from roles.common.tree_source import wanted
from roles.release.deploy import DOT_DIRECTORIES, METHODS, NEVER_REDIRECTED

ROLE = Path(roles.release.__file__).parent
PACKAGES = ("nginx", "libnginx-mod-http-headers-more-filter")
COUNTRY_LISTS = ("ipv4.conf", "ipv6.conf")
"""Empty here: nobody's country is known."""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
ADDRESSES = re.compile(r"^ *listen \[::\]:.*\n", re.MULTILINE)
START_S = 20


def fetched() -> Path:
    """The root of a Debian that has nginx and what it needs; it is no system to boot. Raises EngineError."""
    return tools.root_with("nginx", PACKAGES)


@contextmanager
def serving(
    site: LoadedSite, host: str, volume: Path, scratch: Path, certificate: Path, role: Path = ROLE
) -> Iterator[int]:
    """A release server's site over a folder in its volume's place, by TLS on the port of loopback that this yields.

    certificate: key and chain in PEM; scratch: an empty folder; role: its folder, with tree/. Port 80 has nothing.
    Raises EngineError when nginx does not answer.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    _configure(_rendered(site, host, volume, role), scratch, port, certificate)
    root = fetched()
    words: list[str | Path] = [*tools.words(root, "usr/sbin/nginx")]
    words += ["-p", f"{scratch}/", "-c", scratch / "etc/http.conf", "-e", "stderr"]
    words += ["-g", f"daemon off; user root; pid {scratch}/pid;"]
    with (scratch / "output").open("wb") as output, subprocess.Popen(words, stdout=output, stderr=output) as running:
        try:
            _wait(running, port, scratch / "output")
            yield port
        finally:
            running.terminate()


def _rendered(site: LoadedSite, host: str, volume: Path, role: Path) -> Mapping[str, str]:
    """The role's files of nginx by their path on a host."""
    settings = site.settings(host)["release"]
    assert isinstance(settings, nginx.HttpSettings)
    mount = nginx.content_volume(site, host, settings).mount
    made = wanted(
        role / "tree",
        settings.model_dump() | {"mount": mount},
        generated=nginx.files(site, host, settings, METHODS, DOT_DIRECTORIES, NEVER_REDIRECTED),
        directories=(),
        absent=(),
        modes={},
        owners={},
        secret=(),
        validate={},
    )
    texts = {one.path: one.content.decode() for one in made.files if one.path.startswith("/etc/nginx/")}
    return {path: text.replace(mount, str(volume)) for path, text in texts.items()}


def _configure(files: Mapping[str, str], scratch: Path, port: int, certificate: Path) -> None:
    """Lays the files down with the paths of this machine."""
    (scratch / "log").mkdir()
    (scratch / "temporary").mkdir()
    (scratch / "countries").mkdir()
    for name in COUNTRY_LISTS:
        (scratch / "countries" / name).touch()
    places = "".join(f"{kind}_temp_path {scratch}/temporary/{kind};\n" for kind in TEMPORARY)
    changes = {
        "include /etc/nginx/cleartext.conf;": "",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        CERTIFICATE: str(certificate),
        nginx.COUNTRIES: f"{scratch}/countries",
        "/etc/nginx/": f"{scratch}/etc/",
        "/var/log/http/": f"{scratch}/log/",
        "load_module modules/": f"load_module {fetched()}/usr/lib/nginx/modules/",
        "\nhttp {\n": f"\nhttp {{\n{places}",
    }
    for path, text in files.items():
        here = ADDRESSES.sub("", text)
        for old, new in changes.items():
            here = here.replace(old, new)
        target = scratch / "etc" / path.removeprefix("/etc/nginx/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(here)
    shutil.copy(fetched() / "etc/nginx/mime.types", scratch / "etc/mime.types")


def _wait(running: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and running.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise EngineError(f"nginx does not answer on port {port}: {output.read_text().strip()[-1000:]}")
