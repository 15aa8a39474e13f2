"""Mirrors of git repositories that lose nothing: what upstream deletes or rewrites is kept as refs/kept/TIME/....

Branches and tags are mirrored, and nothing else: what strangers propose (refs/pull, refs/changes) has no bounds. New
refs come into a namespace of their own first; then the old tips that would be lost get their kept refs, and only then
do the refs change. A run that is killed leaves a mirror that the next one goes on with.

git runs without the machine's or a user's configuration, without hooks, and asks nobody anything.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backup import custody
from backup.control import Say
from backup.rules import ago
from backup.sizes import clean, counted
from inventories.inventory import LoadedSite

FOLDER = Path("/srv/control/mirrors")
GIVE_UP_AFTER_S = 3 * 3600
"""For one mirror: the first time it is all of the repository."""
FETCHED = "mainstay-fetched"
"""In a mirror: its time is that of the last fetch that went well."""
FETCHED_WITHIN = timedelta(hours=26)
"""The timer has them fetched every hour."""
KEPT, INCOMING = "refs/kept/", "refs/incoming/"
MIRRORED = ("heads/", "tags/")
OPTIONS = {
    "core.hooksPath": "/dev/null",
    "gc.autoDetach": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}
ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_ASKPASS": "false",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
}


class MirrorError(Exception):
    """A repository could not be mirrored; says what git said."""


def declared(site: LoadedSite) -> dict[str, str]:
    """Addresses by the mirrors' names, as the control host's settings have them; none without such a host."""
    name = custody.control_host(site)
    settings: Any = site.settings(name)["control"] if name else None
    return dict(settings.mirrors) if settings else {}


def behind(wanted: Iterable[str], folder: Path, now: datetime) -> list[str]:
    """Which mirrors were not fetched for too long, each with since when; one that never was counts from its making."""
    found = []
    for name in wanted:
        places = (folder / f"{name}.git" / FETCHED, folder / f"{name}.git/config", folder)
        last = datetime.fromtimestamp(next(place.stat().st_mtime for place in places if place.exists()), UTC)
        if now - last > FETCHED_WITHIN:
            found.append(f"{name} since {ago(last, now)}")
    return found


def mirror_all(wanted: Mapping[str, str], folder: Path, say: Say) -> list[str]:
    """Brings all mirrors up to date, one after the other; returns the names of those that failed."""
    failed = []
    for name, url in wanted.items():
        try:
            say(f"{name}: {mirror(url, folder / f'{name}.git', datetime.now(UTC))}")
        except MirrorError as error:
            say(f"{name}: FAILED: {clean(str(error))}")
            failed.append(name)
    return failed


def mirror(url: str, folder: Path, now: datetime) -> str:
    """Makes or updates one mirror; returns what changed, in words. Raises MirrorError."""
    if not (folder / "HEAD").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _git(folder.parent, "init", "--quiet", "--bare", str(folder))
    _git(folder, "fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", url, *_refspecs())
    refs = _refs(folder)
    old = {name.removeprefix("refs/"): tip for name, tip in refs.items() if name.startswith(_local())}
    new = {name.removeprefix(INCOMING): tip for name, tip in refs.items() if name.startswith(INCOMING)}
    if old and not new:
        raise MirrorError(f"{url} has no branches and tags any more: the mirror is left as it is")
    lost = {name: tip for name, tip in old.items() if new.get(name) != tip and _is_lost(folder, name, tip, new)}
    known = {(name.removeprefix(KEPT).partition("/")[2], tip) for name, tip in refs.items() if name.startswith(KEPT)}
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    _update(folder, [f"update {KEPT}{stamp}/{name} {tip}" for name, tip in (lost.items() - known)])
    _update(folder, [f"delete refs/{name}" for name in old if name not in new])
    changed = {name: tip for name, tip in new.items() if old.get(name) != tip}
    _update(folder, [f"update refs/{name} {tip}" for name, tip in changed.items()])
    _update(folder, [f"delete {INCOMING}{name}" for name in new])
    _follow_head(folder, url, new)
    (folder / FETCHED).touch()
    kept = f", {counted(len(lost), 'old one')} kept" if lost else ""
    return f"{len(changed)} of {counted(len(new), 'branch or tag', 'branches and tags')} changed{kept}"


def _local() -> tuple[str, ...]:
    return tuple(f"refs/{kind}" for kind in MIRRORED)


def _refspecs() -> list[str]:
    return [f"+refs/{kind}*:{INCOMING}{kind}*" for kind in MIRRORED]


def _refs(folder: Path) -> dict[str, str]:
    lines = _git(folder, "for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    return {name: tip for tip, _, name in (line.partition(" ") for line in lines)}


def _is_lost(folder: Path, name: str, tip: str, new: Mapping[str, str]) -> bool:
    """Whether a ref's old tip is not in the history of its new one: gone, rewritten, or a tag that was moved."""
    if name not in new or not name.startswith("heads/"):
        return True
    return _run(folder, "merge-base", "--is-ancestor", tip, new[name]).returncode != 0


def _update(folder: Path, orders: Sequence[str]) -> None:
    if orders:
        _git(folder, "update-ref", "--stdin", stdin="".join(f"{order}\n" for order in sorted(orders)))


def _follow_head(folder: Path, url: str, new: Mapping[str, str]) -> None:
    """Upstream's own default branch."""
    head, _, _ = _git(folder, "ls-remote", "--symref", url, "HEAD").partition("\t")
    branch = head.removeprefix("ref: ")
    if branch != head and branch.removeprefix("refs/") in new:
        _git(folder, "symbolic-ref", "HEAD", branch)


def _git(folder: Path, *words: str, stdin: str = "") -> str:
    done = _run(folder, *words, stdin=stdin)
    if done.returncode:
        raise MirrorError(f"git {words[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def _run(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    options = [word for key, value in OPTIONS.items() for word in ("-c", f"{key}={value}")]
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    with subprocess.Popen(
        ["git", *options, *words],
        cwd=folder,
        env=kept | ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=GIVE_UP_AFTER_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise MirrorError(f"git {words[0]}: not within {GIVE_UP_AFTER_S} s") from None
        except BaseException:
            process.terminate()  # git passes it on to what it started, and removes its locks
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
