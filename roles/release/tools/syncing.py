"""Servers that were left out, or made anew, catch up: first the packages that others have, then the newest commit.

    read where it is, against the list of checksums -> fetched here -> brought beside the tree -> read there -> placed

Packages come through this machine, by rsync under the pinned keys: servers hold no keys of each other's. One is fetched
while the one before it is brought, and a run that broke off goes on with what came.
"""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

from backup.sizes import counted
from roles.common.publishing.hearing import Hearing
from roles.common.publishing.on_server import below
from roles.common.publishing.servers import Session, on_all, session
from roles.release.archive import PUBLIC, SHA256SUM, checksum
from roles.release.tools.offers import lines
from roles.release.tools.on_server import SYNCED
from roles.release.tools.publication import RESERVE
from roles.release.tools.publish import METADATA, PROGRAM, PublishError, Site, judge_clock, must_hold, serves, switch
from roles.release.tools.retention import Kept, ended, superseded


@dataclass
class Syncing:
    """staging: a folder here, for two packages at a time; sums: the list of checksums, hash by a package's file name;
    kept: packages that it lets go are not brought."""

    site: Site
    staging: Path
    sums: Mapping[str, str]
    kept: Kept
    hear: Hearing
    now: datetime


@dataclass(frozen=True)
class Holding:
    """A server, and the size of what it holds by path, but for what is under way there."""

    to: Session
    status: Mapping[str, Any]
    sizes: Mapping[str, int]


def sync(run: Syncing) -> list[str]:
    """Has every server hold what any of the others holds, and serve the newest commit; returns which did not before.

    Raises ServerError, RepositoryError, and PublishError where a server lacks something that none has.
    """
    site, moved = run.site, []
    commit = site.metadata.fetch()
    files = site.metadata.files(commit, METADATA)
    with ExitStack() as stack:
        run.hear.step("connect")
        sessions = [stack.enter_context(session(one, PROGRAM)) for one in site.places]
        holdings = on_all(sessions, _holding)
        for one in holdings:
            judge_clock(run.now, one.status["time"], one.to.place.name)
        old = _old(run, commit, {path for one in holdings for path in one.sizes})
        for one in holdings:
            others = [other for other in holdings if other is not one]
            missing, unknown = _missing(run, one, others, old), _unknown(one, others)
            if serves(one.status, commit, files) and not (missing or unknown):
                continue
            one.to.ask("lock")
            if missing:
                _bring(run, one, missing)
            must_hold(one.to, site, files)
            switch(one.to, site, commit, files)
            for name, other in unknown.items():
                one.to.ask("keep", manifest=other.to.ask("manifest", name=name)["manifest"])
            moved.append(one.to.place.name)
    return moved


def _holding(to: Session) -> Holding:
    status, sizes = to.ask("status"), to.ask("packages")["sizes"]
    coming = {*status["begun"]["new"]} if status["begun"] else {*()}
    return Holding(to, status, {path: size for path, size in sizes.items() if path not in coming})


def _old(run: Syncing, commit: str, paths: Collection[str]) -> set[str]:
    metadata = run.site.metadata
    offers = lines(metadata.files(commit, METADATA))
    return {*superseded(paths, offers, ended(metadata, commit), run.now.timestamp(), run.kept)}


def _missing(run: Syncing, one: Holding, others: Sequence[Holding], old: Collection[str]) -> dict[str, list[Holding]]:
    """Packages that a server lacks, or whose checksum it lacks, and who has them with one, here or on the list."""
    lacking = {path for other in others for path in other.sizes} - {*one.sizes} - {*old}
    found = {}
    for path in sorted({path.removesuffix(SHA256SUM) for path in lacking}):
        sure = path.rpartition("/")[2] in run.sums
        holders = [it for it in others if path in it.sizes and (sure or f"{path}{SHA256SUM}" in it.sizes)]
        if holders:
            found[path] = holders
    return found


def _unknown(one: Holding, others: Sequence[Holding]) -> dict[str, Holding]:
    """What was published without it, and who has the manifest."""
    found = {name: other for other in others for name in other.status["published"]}
    return {name: other for name, other in sorted(found.items()) if name not in one.status["published"]}


def _bring(run: Syncing, one: Holding, missing: Mapping[str, list[Holding]]) -> None:
    """Raises PublishError."""
    name = one.to.place.name
    if begun := one.status["begun"]:
        raise PublishError(f"{name}: {begun['id']} was begun there by {begun['who']}: finish or abandon it first")
    needed = sum(holders[0].sizes[path] for path, holders in missing.items() if path not in one.sizes)
    if needed + RESERVE > (free := one.status["free"]):
        raise PublishError(f"{name}: needs {needed:,} bytes, and {RESERVE:,} to spare; there are {free:,}")
    run.hear.step(f"bring {counted(len(missing), 'package')} to {name}", needed)
    for path, files in _fetched(run, one, missing):
        if path not in one.sizes:
            one.to.upload(run.staging, [path], f"incoming/{SYNCED}/files", run.hear.progress)
        wrong = one.to.ask("take", files=files)["wrong"]
        below(run.staging, path).unlink(missing_ok=True)
        for file, why in wrong.items():
            raise PublishError(f"{name}: {file} is not as it is on other servers: {why}: run it again")
    shutil.rmtree(run.staging, ignore_errors=True)


def _fetched(
    run: Syncing, one: Holding, missing: Mapping[str, list[Holding]]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each package as it lies here, with what a server is told of it and of its checksum; the next is on its way."""
    with ThreadPoolExecutor(1) as pool:
        paths = [*missing]
        ahead = pool.submit(_fetch, run, one, paths[0], missing[paths[0]])
        for path, coming in zip_longest(paths, paths[1:]):
            files = ahead.result()
            if coming:
                ahead = pool.submit(_fetch, run, one, coming, missing[coming])
            if files:
                yield path, files


def _fetch(run: Syncing, one: Holding, path: str, holders: Sequence[Holding]) -> list[dict[str, Any]]:
    """From the first server where it is what it should be; nothing where it is on none."""
    name = path.rpartition("/")[2]
    for holder in holders:
        told = holder.to.ask("read", path=path)
        beside = _hash(told["sum"])
        expected = run.sums.get(name, beside)
        if told["sha256"] != expected:
            where = f"{holder.to.place.name}: {path}"
            run.hear.note(f"{where}: SHA-256 {told['sha256']}, not {expected or 'any that is known'}: not brought")
            continue
        if path not in one.sizes:
            holder.to.download(PUBLIC, [path], run.staging, lambda _: None)
        files = [{"path": path, **{key: told[key] for key in ("size", "sha256", "time")}}]
        if beside == expected:
            files.append(_text(f"{path}{SHA256SUM}", told["sum"], told["sum_time"]))
        return files
    return []


def _hash(text: str) -> str:
    """Of a file that lies beside a package; empty when it says nothing."""
    try:
        return checksum(text)
    except ValueError:
        return ""


def _text(path: str, text: str, time: int) -> dict[str, Any]:
    content = text.encode()
    return {"path": path, "size": len(content), "sha256": sha256(content).hexdigest(), "time": time, "text": text}
