"""The lab's certificate authority: Pebble, which speaks ACME as Let's Encrypt does, and asks the lab's name servers.

One process a lab, on the gateway's address. Pebble keeps nothing on disk: each start makes a root of its own, and knows
no account of before. So only `down` ends it, not the daemon's end and not that of the hosts; where it was ended in
another way, as by a boot of the machine, `up` starts it anew, and certificates of before are trusted by nobody.

What to trust lies in the site's folder, where production has nothing: `acme.pem` for the authority's API, and
`tls-roots.pem`, the root of what it issues.
"""

import json
import time

import requests

from inventories import trusted
from inventories.files import replace
from lab import process, storage, tools
from lab.engine import EngineError, LabConfig

PORT = 14000
WAIT_S = 30
VALID_S = 90 * 24 * 3600
"""As long as certificates of Let's Encrypt are."""
ENVIRONMENT = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
"""No made-up delays and errors, and each certificate is a challenge that was answered."""


def directory(config: LabConfig) -> str:
    """Its ACME directory, as hosts and this machine reach it."""
    return f"https://{config.gateway4}:{PORT}/dir"


def start(config: LabConfig, valid_s: int = VALID_S) -> None:
    """Starts it, unless it runs, and writes down its root. Needs the bridge and the site's folder. Raises EngineError.

    valid_s: how long what it issues is valid.
    """
    folder = config.root / "authority"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _pid(config):
        certificate, key = storage.tls(config)
        settings = {
            "listenAddress": f"{config.gateway4}:{PORT}",
            "managementListenAddress": f"127.0.0.1:{_management_port(config)}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": 80,
            "tlsPort": 443,
            "certificateValidityPeriod": valid_s,
            "retryAfter": {"authz": 1, "order": 1},
        }
        replace(folder / "pebble.json", json.dumps({"pebble": settings}))
        words = [tools.fetched("pebble"), "-config", _word(config), "-dnsserver", f"{config.gateway4}:53"]
        process.start(folder / "pid", words, ENVIRONMENT, folder / "log")
    root = _root(config)
    file = config.root / "site" / trusted.ROOTS
    if not file.exists() or file.read_text() != root:
        replace(file, root, 0o644)


def material(config: LabConfig, what: str) -> str:
    """Of Pebble's own making, in PEM: `roots`, `intermediates`, `intermediate-keys`. Raises RequestException."""
    url = f"https://127.0.0.1:{_management_port(config)}/{what}/0"
    answer = requests.get(url, verify=str(storage.tls(config)[0]), timeout=5)
    answer.raise_for_status()
    return answer.text


def stop(config: LabConfig) -> None:
    """Ends it, if it runs, and with it all that it knows. Raises EngineError."""
    process.end(config.root / "authority/pid", _word(config), "the lab's certificate authority")


def _pid(config: LabConfig) -> int:
    return process.running(config.root / "authority/pid", _word(config))


def _word(config: LabConfig) -> str:
    return str(config.root / "authority/pebble.json")


def _management_port(config: LabConfig) -> int:
    """Of this machine's loopback, since it gives away the authority's keys."""
    return 15000 + config.index


def _root(config: LabConfig) -> str:
    """The root's certificate in PEM, once the authority answers."""
    deadline, certificate = time.monotonic() + WAIT_S, str(storage.tls(config)[0])
    while True:
        try:
            root = material(config, "roots")
            requests.get(directory(config), verify=certificate, timeout=5).raise_for_status()
        except requests.RequestException as error:
            if _pid(config) and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            log = config.root / "authority/log"
            said = log.read_text(errors="replace").strip()[-2000:]
            what = f"the lab's certificate authority does not answer at {directory(config)}: {error}; {log} ends with:"
            raise EngineError(f"{what}\n{said}") from None
        else:
            return root
