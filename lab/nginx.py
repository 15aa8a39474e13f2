"""nginx of Debian 13 on this machine, with a role's own configuration: for tests and benchmarks that need no host.

What differs from a host: listeners and certificate, paths, and the user, which is whoever runs it.
"""

import fcntl
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inventories.fleet import Volume
from lab.command import BASE, run
from lab.engine import EngineError
from lab.image import MIRROR, SUITE
from roles.common import nginx
from roles.common.tree_source import wanted

ROOT = BASE / "tools/nginx"
PACKAGES = ("nginx", "libnginx-mod-http-headers-more-filter")
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
LISTEN = re.compile(r"^listen .*\n", re.MULTILINE)
MOUNT = "/srv/volume"
"""Of the volume in what is rendered."""
START_S = 20


@dataclass(frozen=True)
class Certificate:
    """Files in PEM; chain: the certificate and what leads to its authority."""

    chain: Path
    key: Path


def fetched() -> Path:
    """The root of a Debian that has nginx and what it needs; it is no system to boot. Raises EngineError."""
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    with (ROOT.parent / "nginx.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ROOT.exists():
            fresh = ROOT.with_name("nginx.root")
            shutil.rmtree(fresh, ignore_errors=True)
            words = ("mmdebstrap", "--mode=root", "--variant=extract", f"--include={','.join(PACKAGES)}")
            run(*words, SUITE, fresh, f"deb {MIRROR}/debian {SUITE} main", timeout_s=600)
            fresh.rename(ROOT)
    return ROOT


@contextmanager
def serving(
    role: Path, settings: nginx.HttpSettings, volume: Path, scratch: Path, certificate: Certificate | None = None
) -> Iterator[int]:
    """A role's site over a volume's folder, on the port of loopback that this yields; by TLS with a certificate.

    role: its folder, with tree/. scratch: an empty folder. Raises EngineError when nginx does not answer.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    _configure(_rendered(role, settings, volume), scratch, port, certificate)
    root = fetched()
    words: list[str | Path] = [root / LOADER, "--library-path", root / LIBRARIES, root / "usr/sbin/nginx"]
    words += ["-p", f"{scratch}/", "-c", scratch / "etc/http.conf", "-e", "stderr"]
    words += ["-g", f"daemon off; user root; pid {scratch}/pid;"]
    with (scratch / "output").open("wb") as output, subprocess.Popen(words, stdout=output, stderr=output) as running:
        try:
            _wait(running, port, scratch / "output")
            yield port
        finally:
            running.terminate()


def _rendered(role: Path, settings: nginx.HttpSettings, volume: Path) -> Mapping[str, str]:
    """The role's files of nginx by their path on a host."""
    declared = Volume(size_gb=10, mount=MOUNT)
    shared = nginx.files(settings, declared, ("GET", "HEAD", "OPTIONS"), ("well-known",))
    context = settings.model_dump() | {"mount": declared.mount}
    made = wanted(
        role / "tree",
        context,
        generated=shared,
        directories=(),
        absent=(),
        modes={},
        owners={},
        secret=(),
        validate={},
    )
    texts = {one.path: one.content.decode() for one in made.files if one.path.startswith("/etc/nginx/")}
    return {path: text.replace(MOUNT, str(volume)) for path, text in texts.items()}


def _configure(files: Mapping[str, str], scratch: Path, port: int, certificate: Certificate | None) -> None:
    """Lays the files down with the paths of this machine."""
    (scratch / "log").mkdir()
    (scratch / "temporary").mkdir()
    listen = f"listen 127.0.0.1:{port} backlog=4096{' ssl' if certificate else ''};\n"
    if certificate:
        listen += f"ssl_certificate {certificate.chain};\nssl_certificate_key {certificate.key};\n"
    places = "".join(f"{kind}_temp_path {scratch}/temporary/{kind};\n" for kind in TEMPORARY)
    for path, text in files.items():
        here = text.replace("/etc/nginx/", f"{scratch}/etc/").replace("/var/log/http/", f"{scratch}/log/")
        here = here.replace("load_module modules/", f"load_module {ROOT}/usr/lib/nginx/modules/")
        here = here.replace("\nhttp {\n", f"\nhttp {{\n{places}")
        if path.endswith("/server.inc"):
            here = listen + LISTEN.sub("", here)
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
