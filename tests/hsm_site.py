"""A signing host with two simulated YubiHSM 2, hsm.toml and its folders; and `mainstay hsm`, as an admin calls it."""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner
from yubihsm.backends.http import HttpBackend
from yubihsm.core import AuthSession, YubiHsm
from yubihsm.defs import OBJECT
from yubihsm.objects import AsymmetricKey

from cli.main import app
from cloud.converge import REPOSITORY
from lab.api.server import Server, listen, stop
from lab.hsm import connector
from lab.hsm.device import Device
from lab.hsm.faults import Fault
from lab.hsm.storage import Storage
from tests.waiting import until

SERIALS = {"primary": 999_000_001, "backup": 999_000_002}
PASSWORDS = {
    "factory": "password",
    "admin": "admin password",
    "audit": "audit password",
    "signing": "signing password",
    "main": "5a" * 32,
}
ADMIN, READER, SIGNING, FACTORY = 0x00AD, 0x0002, 0x0001, 0x0001
"""Authentication keys; the one of the factory has the id that signing is to have, as it is where this is used."""
DECLARATION = """\
expires_days = 90

[devices.primary]
serial = 999000001
connector = "{primary}"

[devices.backup]
serial = 999000002
connector = "{backup}"

[log]
repository = "hsm-log"
key = "audit"

[state]
key = "admin"

[audit]
force = "on"
commands = "on"
exceptions = {{ echo = "off" }}

[authentication_keys.admin]
id = 0x00ad
domains = "all"
capabilities = ["put-authentication-key", "put-opaque", "get-opaque", "generate-asymmetric-key", "export-wrapped",
    "import-wrapped", "get-option", "set-option", "reset-device", "delete-asymmetric-key", "delete-authentication-key",
    "change-authentication-key", "delete-opaque", "put-asymmetric-key"]
delegated = ["sign-ecdsa", "sign-pss", "sign-pkcs", "exportable-under-wrap", "get-log-entries"]

[authentication_keys.audit]
id = 0x0002
domains = "all"
capabilities = ["get-log-entries"]

[authentication_keys.signing]
id = 0x0001
domains = [3, 4]
capabilities = ["sign-ecdsa"]

[wrap_keys.main]
id = 0x0200
domains = "all"
capabilities = ["export-wrapped", "import-wrapped"]
delegated = ["sign-ecdsa", "exportable-under-wrap"]

[classes.exportable]
algorithm = "ecp256"
domains = [3]
capabilities = ["sign-ecdsa", "exportable-under-wrap"]
wrap_key = "main"
generate = true
export = true
certificate = true

[keys.releasekey]
id = 0x0101
class = "exportable"

[keys.platform]
id = 0x0102
class = "exportable"
"""


class Called(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    said: str

    @property
    def told(self) -> Any:
        """Of --json."""
        return json.loads(self.out)


class Simulated:
    """A device in this process, at `url`."""

    def __init__(self, device: Device, url: str) -> None:
        self.device, self.url = device, url

    @contextmanager
    def session(self, key: int, password: str) -> Iterator[AuthSession]:
        """As another program would have it, which no custody knows."""
        hsm = YubiHsm(HttpBackend(self.url, timeout=120))
        try:
            with hsm.create_session_derived(key, password) as opened:
                yield opened
        finally:
            hsm.close()

    def fault(self, kind: str, **details: Any) -> None:
        self.device.bring_about(Fault(kind=kind, **details))  # type: ignore[arg-type]

    @property
    def numbers(self) -> list[int]:
        """Of the entries whose slots are not free."""
        return [int.from_bytes(entry[:2], "big") for entry in self.device._state.log.entries]

    def sign(self, times: int = 1, key: int = 0x0101) -> None:
        with self.session(SIGNING, PASSWORDS["signing"]) as opened:
            for _ in range(times):
                AsymmetricKey(opened, key).sign_ecdsa(b"a package")


class Site:
    """folder: hsm.toml with `keys` and `hsm-log`. devices: by their names."""

    def __init__(self, folder: Path, devices: dict[str, Simulated]) -> None:
        self.folder, self.devices = folder, devices
        self.file, self.keys, self.log = folder / "hsm.toml", folder / "keys", folder / "hsm-log"

    @property
    def primary(self) -> Simulated:
        return self.devices["primary"]

    @property
    def backup(self) -> Simulated:
        return self.devices["backup"]

    def words(self, command: str, *options: str) -> list[str]:
        """Of a command, with all passwords where it takes any."""
        words = ["hsm", command, "--file", str(self.file)]
        if command in ("plan", "apply", "audit", "drain", "run"):
            names = ("audit",) if command in ("drain", "run") else PASSWORDS
            words += [f"--password-file={name}={self.folder / name}" for name in names if name != "factory"]
        return [*words, *options]

    def mainstay(self, command: str, *options: str, given: str = "") -> Called:
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, self.words(command, *options), input=given or None)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Called(done.exit_code, done.stdout, done.stderr)

    def program(
        self, *words: str, before: Sequence[str] = ("-m", "cli.main"), timeout_s: float = 120, **more: Any
    ) -> Called:
        """As a process of its own."""
        python = [str(REPOSITORY / ".venv/bin/python"), *before]
        done = subprocess.run(
            [*python, *words], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=REPOSITORY, **more
        )
        return Called(done.returncode, done.stdout, done.stderr)

    def from_factory(self, *options: str) -> list[str]:
        """Options of an apply by the key that devices leave the factory with."""
        return ["--key", "0x0001", f"--password-file=0x0001={self.folder / 'factory'}", "--yes", *options]

    def change(self, old: str, new: str) -> None:
        """In hsm.toml."""
        text = self.file.read_text()
        assert old in text, old
        self.file.write_text(text.replace(old, new))

    def entries(self, device: str = "primary") -> list[dict[str, Any]]:
        """Lines in custody, as committed."""
        folder = str(SERIALS[device])
        names = self.git("ls-tree", "-r", "--name-only", "HEAD", "--", folder).split()
        text = "".join(self.git("show", f"HEAD:{name}") for name in sorted(names))
        return [json.loads(line) for line in text.splitlines()]

    def git(self, *words: str) -> str:
        command = ["git", "-C", str(self.log), "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def certify(self, number: int, *, public: Any = None, days: int = 1000) -> Path:
        """A certificate of a key on the primary, as an authority makes it."""
        if public is None:
            with self.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
                key: Any = AsymmetricKey(opened, number)
                public = key.get_public_key()
        path = self.keys / f"{number:#06x}.x509.pem"
        path.write_bytes(certificate(number, public, days))
        return path

    def delete(self, device: str, kind: OBJECT, number: int, *, key: int = ADMIN, password: str = "admin") -> None:
        """As a person does it by yubihsm-shell."""
        with self.devices[device].session(key, PASSWORDS[password]) as opened:
            opened.get_object(number, kind).delete()

    def make(self) -> None:
        """From how devices leave the factory to all that is declared, with a log in custody."""
        done = self.mainstay("apply", *self.from_factory())
        assert done.code == 52, done
        for name in self.devices:
            self.delete(name, OBJECT.AUTHENTICATION_KEY, FACTORY)
        for number in (0x0101, 0x0102):
            self.certify(number)
        done = self.mainstay("apply", "--yes")
        assert done.code == 0, done
        done = self.mainstay("drain")
        assert done.code == 0, done


def certificate(number: int, public: Any, days: int = 1000) -> bytes:
    """Of a key, in PEM, as an authority makes it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{number:#06x}")])
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    begins = min(now, ends) - timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, public, number, begins, ends)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(Encoding.PEM)


@contextmanager
def serving(folder: Path, serial: int) -> Iterator[Simulated]:
    """A device whose memory is in a folder."""
    storage = Storage(folder)
    device = Device(storage, serial)
    listener = listen("127.0.0.1", 0)
    server = Server(connector.app(device))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    until("the simulated device answers", lambda: server.started)
    try:
        yield Simulated(device, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        stop(server)
        thread.join(30)
        storage.close()


@contextmanager
def site(folder: Path, like: Path | None = None) -> Iterator[Site]:
    """Devices as they leave the factory; or all as another site was, of which `like` is the folder."""
    if like:
        shutil.copytree(like, folder, dirs_exist_ok=True)
    with ExitStack() as stack:
        devices = {
            name: stack.enter_context(serving(folder / "devices" / name, serial)) for name, serial in SERIALS.items()
        }
        made = Site(folder, devices)
        made.file.write_text(DECLARATION.format(**{name: one.url for name, one in devices.items()}))
        for name, password in PASSWORDS.items():
            (folder / name).write_text(f"{password}\n")
            (folder / name).chmod(0o600)
        if not like:
            made.keys.mkdir()
            subprocess.run(["git", "init", "-q", "-b", "main", made.log], check=True)
        yield made
