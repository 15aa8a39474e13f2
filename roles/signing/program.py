"""`mainstay hsm` as the signing host has it: those of this project's modules that it loads, and nothing else.

What they need besides comes from Debian (`software.py`): nothing on that host is from anywhere else.
"""

from pathlib import Path

from inventories.errors import InputError
from inventories.inventory import CLONE, LoadedSite
from roles.signing.settings import Settings
from roles.signing.tools.places import FILE
from roles.signing.tools.state import loading

FOLDER = "/usr/local/lib/mainstay/signing"
DECLARATION = f"/etc/signing/{FILE}"
SOURCES = (
    "backup/__init__.py",
    "backup/sizes.py",
    "cli/__init__.py",
    "cli/hsm/*.py",
    "cli/lazy.py",
    "cli/main.py",
    "cli/options.py",
    "inventories/__init__.py",
    "inventories/errors.py",
    "inventories/files.py",
    "inventories/typed.py",
    "roles/__init__.py",
    "roles/signing/__init__.py",
    "roles/signing/tools/**/*.py",
)
CONNECTOR = """\
listen: "127.0.0.1:{port}"
# Without it the connector takes whichever device comes first, and be it one that only claims to be a YubiHSM.
serial: "{serial}"
syslog: "false"
enable-host-header-allowlist: "true"
host-header-allowlist: "localhost,localhost.,127.0.0.1"
"""


def sources() -> dict[str, Path]:
    """Where each lies here, by its path on the host."""
    found = (path for pattern in SOURCES for path in CLONE.glob(pattern))
    return {f"{FOLDER}/{path.relative_to(CLONE)}": path for path in found}


def files() -> dict[str, bytes]:
    """By their path on the host."""
    return {path: source.read_bytes() for path, source in sources().items()}


def connectors(settings: Settings) -> dict[str, str]:
    """What each connector is started with, by its path on the host."""
    ports = settings.ports.items()
    return {
        f"/etc/yubihsm-connector/{serial}.yaml": CONNECTOR.format(serial=serial, port=port) for serial, port in ports
    }


def declaration(site: LoadedSite, settings: Settings) -> dict[str, bytes]:
    """The site's hsm.toml, if it has one, by its path on the host. Raises InputError where it cannot be meant."""
    path = site.files / FILE
    if not path.exists():
        return {}
    for name, one in loading.load(path).file.devices.items():
        serial = f"{one.serial:010}"
        if serial not in settings.ports:
            known = ", ".join(settings.hsms)
            raise InputError(path, f"devices.{name}.serial", f"{serial} is none of settings.signing.hsms", known)
        url = f"http://127.0.0.1:{settings.ports[serial]}"
        if one.connector != url:
            raise InputError(path, f"devices.{name}.connector", f"the connector of {serial} is {url}", "put that")
    return {DECLARATION: path.read_bytes()}
