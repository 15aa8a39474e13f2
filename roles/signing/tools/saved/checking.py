"""`check`: whether such a folder can be relied on, by what lies in it alone; needs no device and no other file."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from cryptography import x509

from inventories.errors import InputError
from inventories.files import sha256
from roles.signing.tools.custody import verifying
from roles.signing.tools.custody.git import cloned
from roles.signing.tools.errors import HsmError
from roles.signing.tools.saved import ABOUT, BUNDLE, DECLARATION, KEYS, SUMS
from roles.signing.tools.state import folder as files
from roles.signing.tools.state import loading
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared

WRONG = 51
"""Exit code."""
WITHIN_DAYS = 35
"""A release comes each month, and with it a backup."""
CHECKS = ("files", "declaration", "wrapped keys", "certificates", "log", "age")


class Finding(NamedTuple):
    """check: which of CHECKS found it."""

    check: str
    told: str

    def __str__(self) -> str:
        return f"{self.check}: {self.told}"


class Checked(NamedTuple):
    """saved: when, as it says; empty where it does not. declared: by the folder's own hsm.toml, with the folder's keys;
    None where it cannot be read."""

    saved: str
    declared: Declared | None
    entries: int
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return WRONG if self.findings else 0

    def as_json(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code,
            "saved": self.saved,
            "entries": self.entries,
            "findings": [one._asdict() for one in self.findings],
        }


def check(folder: Path, now: datetime, *, within_days: int = WITHIN_DAYS, declared: Path | None = None) -> Checked:
    """declared: what is to be declared, to be held against it. Raises HsmError where there is no such folder."""
    if not (folder / SUMS).is_file():
        raise HsmError(f"{folder}: no {SUMS}: this is no folder of `mainstay hsm save`, or less than half of one")
    findings = [Finding("files", told) for told in _files(folder)]
    about = _about(folder)
    try:
        found = loading.load(folder / DECLARATION)._replace(folder=folder / KEYS)
    except InputError as error:
        found = None
        findings.append(Finding("declaration", str(error)))
    if declared and found and declared.read_bytes() != (folder / DECLARATION).read_bytes():
        findings.append(Finding("declaration", f"is not what {declared} declares: save anew, or bring that up to date"))
    if found:
        there = Folder(found.folder)
        findings += [Finding("wrapped keys", told) for told in _wrapped(found, there)]
        findings += [Finding("certificates", told) for told in _certificates(found, there)]
    entries, told = _log(folder, about, found)
    findings += [Finding("log", one) for one in told]
    findings += [Finding("age", one) for one in _age(about, now, within_days)]
    return Checked(str(about.get("saved", "")), found, entries, tuple(findings))


def unreachable(declared: Declared) -> list[str]:
    """Keys that no folder can have: they leave no device."""
    return [name for name in declared.file.keys if not declared.key_class(name).wrap_key]


def _files(folder: Path) -> Iterator[str]:
    known = {}
    for line in (folder / SUMS).read_text(errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        known[name] = digest
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or path.is_symlink():
            yield f"{name}: leads out of the folder"
        elif not path.is_file():
            yield f"{name}: is missing"
        elif sha256(path) != digest:
            yield f"{name}: has other bytes than were saved"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - {SUMS}
    yield from (f"{name}: was not saved with the others" for name in sorted(there - known.keys()))
    needed = {ABOUT, DECLARATION, BUNDLE} - known.keys()
    yield from (f"{name}: {SUMS} does not list it" for name in sorted(needed))


def _about(folder: Path) -> dict[str, Any]:
    """Empty where it cannot be read; its bytes are judged with the files."""
    try:
        found = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _wrapped(declared: Declared, there: Folder) -> Iterator[str]:
    keys = declared.keys()
    for name, one in keys.items():
        if not declared.key_class(name).wrap_key:
            continue
        if one.id not in there.wrapped:
            yield f"{name}: there is no {one.id:#06x}{files.WRAPPED}"
        elif wrong := files.problem(there.wrapped[one.id], one.algorithm):
            yield f"{there.wrapped[one.id].name} {wrong}"
    for number in sorted(there.wrapped.keys() - {one.id for one in keys.values()}):
        yield f"{there.wrapped[number].name}: no declared key has this id"


def _certificates(declared: Declared, there: Folder) -> Iterator[str]:
    for name, one in declared.certificates().items():
        if one.id not in there.certificates:
            yield f"{name}: there is no {one.id:#06x}{files.CERTIFICATE}"
    for path in there.certificates.values():
        try:
            x509.load_pem_x509_certificate(path.read_bytes())
        except (ValueError, OSError) as error:
            yield f"{path.name}: is no certificate: {error}"


def _log(folder: Path, about: dict[str, Any], declared: Declared | None) -> tuple[int, list[str]]:
    """How many entries there are, and what is wrong with them."""
    with TemporaryDirectory(prefix="mainstay-") as scratch:
        try:
            git = cloned(folder / BUNDLE, Path(scratch, "log"))
            found = verifying.verify(git)
            head = git.run("rev-parse", "HEAD").decode().strip()
        except HsmError as error:
            return 0, [str(error)]
    told = [*found.problems]
    for log in found.logs:
        told += [f"{log.serial}: {one}" for one in log.problems]
    there = {str(log.serial): (log.entries, log.last) for log in found.logs}
    for serial, wanted in about.get("logs", {}).items():
        entries, last = there.get(serial, (0, None))
        if (entries, last) != (wanted["entries"], wanted["last"]):
            lacks = f"{wanted['entries']} entries to {wanted['last']} were saved, and {entries} to {last} are there"
            told.append(f"{serial}: {lacks}")
    if head != about.get("head"):
        told.append(f"its newest commit is {head[:12]}, and {str(about.get('head'))[:12]} was saved")
    for place in declared.custody.devices if declared else ():
        if str(place.serial) not in there:
            told.append(f"there is no log of {place}")
    return sum(entries for entries, _ in there.values()), told


def _age(about: dict[str, Any], now: datetime, within_days: int) -> Iterator[str]:
    try:
        saved = datetime.fromisoformat(about["saved"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        yield "does not say when it was saved"
        return
    if saved > now + timedelta(days=1):
        yield f"saved on {saved:%Y-%m-%d}, which is to come: a clock is wrong, here or there"
    elif saved < now - timedelta(days=within_days):
        yield f"stale: saved on {saved:%Y-%m-%d}, {(now - saved).days} days ago, {within_days} at most are allowed"
