"""The manifests that an inventory declares, and an audit of each."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from time import sleep
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from backup import custody
from backup.reach import state, state_folder
from inventories import trusted
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.gerrit.tools.sources import ask, deep, origin
from roles.gerrit.tools.sources.audit import Scope, Verdict, audit
from roles.gerrit.tools.sources.findings import Finding, Kind
from roles.gerrit.tools.sources.git import Place
from roles.gerrit.tools.sources.manifest import Manifest
from roles.gerrit.tools.sources.source import Source
from roles.gerrit.tools.sources.told import Audited

Read = Callable[[Source, Place], Manifest]
"""Reads a manifest; raises InputError."""


def declared(site: LoadedSite) -> tuple[Source, ...]:
    """As the control host's settings have them; none without such a host."""
    name = custody.control_host(site)
    settings: Any = site.settings(name)["control"] if name else None
    return tuple(settings.sources) if settings else ()


def trusting(site: LoadedSite, below: Path) -> Path | None:
    """A file of the certificates to trust, made in a folder: the public ones and, of a lab, its own; None: this
    machine's."""
    own = site.files / trusted.ROOTS
    if not own.exists():
        return None
    made = below / "authorities.pem"
    made.write_text(Path(DEFAULT_CA_BUNDLE_PATH).read_text() + own.read_text())
    return made


def kept(site: LoadedSite | None, source: Source) -> Path:
    """The file of what was read of these sources. A site's lies beside its record."""
    folder = state(site).with_name(f"{site.name}.sources") if site else state_folder() / "sources"
    scope = repr((source.manifest, source.branch, source.file, source.groups, source.remotes))
    return folder / f"{sha256(scope.encode()).hexdigest()[:16]}.json"


def scope(source: Source, manifest: Manifest, place: Place, patience_s: float = 0) -> Scope:
    """What of a manifest is audited. Raises InputError where it would be nothing."""
    return Scope(dict.fromkeys(_remotes(manifest, source), source.mirror or ""), place, patience_s=patience_s)


def audited(
    source: Source, manifest: Manifest, scope: Scope, record: Path | None, now: datetime, tell: ask.Tell
) -> Audited:
    """An audit of what clients get. record: of what was read whole; None: nothing is. Raises InputError when it is no
    record."""
    with deep.kept(record) if record else nullcontext() as readings:
        verdict = audit(manifest.of(source.groups), scope, readings, now, tell)
    return Audited(source.name, tuple(scope.mirrors), verdict)


def fetched(source: Source, place: Place) -> Manifest:
    """What clients get. Raises InputError."""
    return origin.fetched(source.manifest, source.branch, source.file, place)


def patiently(source: Source, place: Place) -> Manifest:
    """The same, asked for a second time later where need be."""
    try:
        return fetched(source, place)
    except InputError:
        sleep(source.patience_minutes * 60)
        return fetched(source, place)


def unread(source: Source, error: InputError) -> Audited:
    """That a manifest cannot be had, as a finding."""
    where = ", ".join(filter(None, (error.file, error.field)))
    about = (
        "",
        "",
        source.manifest,
        source.branch,
        "",
        Kind.MANIFEST,
        error.problem,
        "a manifest that anybody can sync by",
    )
    return Audited(source.name, (), Verdict(0, 0, 0, 0, 0, None, (Finding(*about, where=where),), 0))


def _remotes(manifest: Manifest, source: Source) -> Sequence[str]:
    """Names of those that are audited. Raises InputError."""
    known = ", ".join(sorted(manifest.remotes)) or "none"
    if unknown := sorted({*source.remotes} - {*manifest.remotes}):
        raise InputError(source.name, "", f"the manifest has no remote {unknown[0]!r}", f"it has: {known}")
    if found := source.remotes or origin.own(manifest, source.manifest):
        return found
    problem = f"no remote of the manifest is on the host of {source.manifest}"
    raise InputError(source.name, "", problem, f"name remotes to audit, of: {known}")
