"""borgmatic with Borg over SSH, as documented: in a venv of its own, by an sshd on loopback with keys of its own."""

import fcntl
import os
import socket
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contest import BenchError, command
from lab.go import debian_package
from tests.waiting import listens, until

VENV = Path.home() / ".cache/mainstay/bench/borg"
BORG = "borgbackup==1.4.*"
BUILD = ("gcc", "libacl1-dev", "libc6-dev", "liblz4-dev", "libssl-dev", "libxxhash-dev", "libzstd-dev", "pkg-config")
"""Borg is built from source where PyPI has no wheel of it."""
CONFIG = """\
source_directories: [{source}]
repositories: [{{path: "ssh://root@127.0.0.1:{port}{repository}", label: bench}}]
local_path: {bin}/borg
remote_path: {bin}/borg
ssh_command: ssh -F {ssh}
encryption_passphrase: a long one
borg_base_directory: {state}
user_state_directory: {state}
user_runtime_directory: {state}
"""
SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/own.pub
PidFile none
StrictModes no
PasswordAuthentication no
UsePAM no
"""
SSH = """\
Host *
IdentityFile {folder}/own
IdentitiesOnly yes
UserKnownHostsFile {folder}/known
BatchMode yes
"""


def install() -> dict[str, str]:
    """Borg and borgmatic, once for this machine; returns their versions."""
    VENV.parent.mkdir(parents=True, exist_ok=True)
    with (VENV.parent / "installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (VENV / "bin/borgmatic").exists() or not (VENV / "bin/borg").exists():
            command(["apt-get", "install", "-yq", "--no-install-recommends", *BUILD])
            venv.create(VENV, with_pip=True)
            command([f"{VENV}/bin/pip", "install", "-q", BORG, "borgmatic"])
    return {name: command([f"{VENV}/bin/{name}", "--version"]).split()[-1] for name in ("borg", "borgmatic")}


def _sshd() -> str:
    """The program; Debian's package is kept from running it as a service of this machine."""
    unit = Path("/etc/systemd/system/ssh.service")
    if not unit.exists() and not Path("/usr/sbin/sshd").exists():
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.symlink_to("/dev/null")
    os.environ["PATH"] += ":/usr/sbin"
    return debian_package("sshd", "openssh-server")


@contextmanager
def sshd(folder: Path) -> Iterator[int]:
    """An sshd on a free port of loopback, with keys of its own; ends with the block."""
    folder.mkdir(parents=True)
    for name in ("host", "own"):
        command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "sshd").write_text(SSHD.format(port=port, folder=folder))
    (folder / "ssh").write_text(SSH.format(folder=folder))
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key}\n")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = subprocess.Popen([_sshd(), "-D", "-e", "-f", str(folder / "sshd")], stderr=subprocess.PIPE)
    try:
        until("sshd listens", lambda: listens(port) or _ended(server))
        yield port
    finally:
        server.kill()
        server.communicate()


def _ended(server: "subprocess.Popen[bytes]") -> bool:
    if server.poll() is None:
        return False
    raise BenchError(f"sshd: {server.communicate()[1].decode()}")


class Borgmatic:
    """borgmatic on one repository; folder: of sshd."""

    def __init__(self, source: Path, work: Path, folder: Path, port: int) -> None:
        work.mkdir(parents=True)
        self.config = work / "config.yaml"
        self.config.write_text(
            CONFIG.format(
                source=source,
                port=port,
                repository=work / "repository",
                bin=VENV / "bin",
                ssh=folder / "ssh",
                state=work,
            )
        )
        self._run("repo-create", "--encryption", "repokey-blake2")

    def create(self) -> None:
        self._run("create")

    def extract(self, target: Path) -> None:
        target.mkdir()
        self._run("extract", "--archive", "latest", "--destination", str(target))

    def _run(self, *words: str) -> None:
        command([f"{VENV}/bin/borgmatic", "--config", str(self.config), *words])
