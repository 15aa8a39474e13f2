"""A drill of a signing host's backup: an empty simulated HSM becomes what the old ones were, and each key signs.

    report = drill(folder, wrap_keys, Order(vm=True))

With the wrap key and the folder somebody has all keys: it runs on a machine that is trusted as the signing host is, and
all that it makes is gone at its end, whatever happened.
"""

import fcntl
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from backup.sizes import counted
from cloud.client import CloudError
from inventories.errors import InputError
from lab import lifecycle
from lab.engine import EngineError
from lab.signing import restored
from lab.signing.drill_places import SERIAL, Here, Where, in_vm, scratch
from lab.signing.host import HostError
from lab.signing.site import FACTORY
from roles.signing.tools.errors import HsmError
from roles.signing.tools.saved import checking
from roles.signing.tools.state import proving
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.planning import DIFFERS

PASSED, FAILED, NOT_STARTED = 0, 41, 43
"""Exit codes, as of `mainstay drill`."""
LAB = "hsm-drill"
MEMORY = Path("/dev/shm")  # noqa: S108
"""A tmpfs (shm_overview(7))."""
SWAPS = Path("/proc/swaps")
CHECKS = (*checking.CHECKS, "wrap key", "import", "presence", "certificate", "signature", "published", "destroyed")
FACTORY_KEY = "0x0001"
DEFAULT = "authentication-key 0x0001 DEFAULT AUTHKEY"
APPLY = """\
mkdir -p {work} && tar -x --no-same-owner -C {work}
export MAINSTAY_HSM={work}/hsm.toml
git init -q -b main {work}/hsm-log
mainstay hsm apply --yes --json --key 0x0001 {passwords}
"""
PROVE = """\
export MAINSTAY_HSM={work}/hsm.toml
mainstay hsm prove --json {passwords}
"""
Say = Callable[[str], None]
STOPS = (HsmError, HostError, InputError, EngineError, lifecycle.LabError, CloudError, OSError)


class NotStarted(Exception):
    """Nothing was tried; says why and what to do."""


@dataclass(frozen=True)
class Order:
    """vm: on a throwaway VM, else on this machine. published: folder of certificates that phones know.

    declared: hsm.toml as it is to be. lab: name of the lab of the VM, and of what is in memory.
    """

    vm: bool = True
    published: Path | None = None
    declared: Path | None = None
    within_days: int = checking.WITHIN_DAYS
    lab: str = LAB


@dataclass
class Report:
    """checks: what each found wrong; those that are not in it were not come to. published: whether these were given."""

    folder: Path
    published: bool
    where: str
    began: str
    saved: str = ""
    seconds: float = 0.0
    checks: dict[str, list[str]] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    not_in_it: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        asked = {*CHECKS} - (set() if self.published else {"published"})
        return PASSED if self.checks.keys() >= asked and not any(self.checks.values()) else FAILED

    def outcome(self, check: str) -> str:
        """In words."""
        if check == "published" and not self.published:
            return "not asked"
        found = self.checks.get(check)
        return "not come to" if found is None else "failed" if found else "passed"

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": "failed" if self.exit_code else "passed",
            "exit_code": self.exit_code,
            "folder": str(self.folder),
            "saved": self.saved,
            "where": self.where,
            "began": self.began,
            "seconds": self.seconds,
            "checks": [
                {"check": name, "outcome": self.outcome(name), "found": self.checks.get(name, [])} for name in CHECKS
            ],
            "keys": self.keys,
            "not_in_any_backup": self.not_in_it,
        }


def drill(folder: Path, wrap_key: Callable[[str], str], order: Order, say: Say) -> Report:
    """wrap_key: asked for the hexadecimal digits of each wrap key, by its name in hsm.toml. Raises NotStarted."""
    begun = time.monotonic()
    now = datetime.now(UTC)
    report = Report(folder, bool(order.published), "vm" if order.vm else "here", now.isoformat(timespec="seconds"))
    if len(SWAPS.read_text().splitlines()) > 1:
        raise NotStarted("this machine swaps, and keys could get onto its disk that way: `swapoff -a` first")
    with _alone(order.lab) as memory:
        try:
            with scratch(memory):
                _drill(report, memory, wrap_key, order, say)
        finally:
            left = [str(memory)] if memory.exists() else []
            left += [f"lab {order.lab}"] if order.vm and lifecycle.find(order.lab) else []
            report.checks["destroyed"] = [f"{one}: is still there" for one in left]
    report.seconds = round(time.monotonic() - begun, 1)
    return report


def _drill(report: Report, memory: Path, wrap_key: Callable[[str], str], order: Order, say: Say) -> None:
    say("checking the folder")
    try:
        checked = checking.check(
            report.folder, datetime.now(UTC), within_days=order.within_days, declared=order.declared
        )
    except HsmError as error:
        raise NotStarted(str(error)) from None
    report.saved = checked.saved
    _found(report, checking.CHECKS, checked.findings)
    declared = checked.declared
    if checked.findings or not declared:
        return
    report.not_in_it = checking.unreachable(declared)
    try:
        wraps = {name: wrap_key(name) for name in declared.file.wrap_keys}
    except HsmError as error:
        raise NotStarted(str(error)) from None
    wrong = list(restored.unwrapped(declared, wraps))
    _found(report, ("wrapped keys", "wrap key"), wrong)
    if wrong:
        return
    known = wraps | {name: secrets.token_urlsafe(18) for name in declared.file.authentication_keys}
    with ExitStack() as stack:
        where: Where = Here(memory, known | {FACTORY_KEY: FACTORY})
        if order.vm:
            say("making a throwaway VM with the role")
            try:
                where = stack.enter_context(in_vm(order.lab, memory, where.secrets))
            except STOPS as error:
                raise NotStarted(f"there is no throwaway host: {error}") from error
        try:
            _bring_back(report, declared, where, say)
        except STOPS as error:
            report.checks.setdefault("import", []).append(str(error))
            return
    if order.published:
        report.checks["published"] = list(_unknown(order.published, report.keys))


def _found(report: Report, checks: tuple[str, ...], findings: Any) -> None:
    for name in checks:
        report.checks.setdefault(name, []).extend(one.told for one in findings if one.check == name)


def _bring_back(report: Report, declared: Declared, where: Where, say: Say) -> None:
    """By turns. Raises what stops it; what it found until then is in the report."""
    turns = restored.turns(declared)
    for number, names in enumerate(turns, 1):
        say(f"bringing back {counted(len(names), 'key')}, turn {number} of {len(turns)}")
        where.empty()
        work = f"{where.work}/drill-{number}"
        text = restored.declaration(declared, names, SERIAL, where.connector)
        asked = [*declared.file.authentication_keys, *declared.file.wrap_keys, FACTORY_KEY]
        passwords = " ".join(f'--password-file {name}="$HOME/{name}"' for name in asked)
        given = restored.packed(declared, names, text)
        _, out, _ = where.session(APPLY.format(work=work, passwords=passwords), asked, given, codes=(0, DIFFERS))
        wrong = [
            f"{one['about']}: {'; '.join(one['words'])}"
            for one in json.loads(out)["differences"]
            if DEFAULT not in one["about"]
        ]
        report.checks.setdefault("import", []).extend(wrong)
        say("signing with each")
        _, out, _ = where.session(PROVE.format(work=work, passwords=passwords), asked, codes=(0, proving.WRONG))
        report.keys += json.loads(out)["keys"]
    for name in ("presence", "certificate", "signature"):
        report.checks[name] = [f"{one['name']}: {one['told']}" for one in report.keys if one["check"] == name]


def _unknown(published: Path, keys: list[dict[str, Any]]) -> Iterator[str]:
    """Published certificates whose key was not brought back."""
    known = {one["sha256"] for one in keys}
    paths = sorted(published.glob("*.x509.pem"))
    if not paths:
        yield f"{published}: holds no *.x509.pem"
    for path in paths:
        try:
            key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
        except ValueError as error:
            yield f"{path.name}: is no certificate: {error}"
            continue
        if hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest() not in known:
            yield f"{path.name}: no key that was brought back is its"


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """The folder in memory of drills of this name, of which there is one at a time. Raises NotStarted."""
    with (MEMORY / f"mainstay-{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotStarted("another drill is at it; run it again when that has ended") from None
        yield MEMORY / f"mainstay-{name}"
