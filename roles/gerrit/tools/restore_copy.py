"""A repository as it came out of a backup, made into one that can be pushed from. It is never run as it is: its
configuration and hooks can name commands, and it can borrow objects of this machine."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from backup.agent import ref_manifest, refs
from roles.gerrit.tools.restore_names import kept_as

ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
}
SAID_AT_MOST = 1000


class NotRestored(Exception):
    """What was wanted is not in the backup, is not whole there, or is not taken."""


def git(*words: str | Path, env: Mapping[str, str] = {}, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """git without this machine's configuration. Raises NotRestored in git's words."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {**ENVIRONMENT, **env}
    done = subprocess.run(
        ["git", *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        command = next(str(word) for word in words if not str(word).startswith(("-", "/")))
        raise NotRestored(f"git {command}: {done.stderr.strip()[-SAID_AT_MOST:] or f'ended with {done.returncode}'}")
    return done


def listed(manifest: Path, path: str) -> ref_manifest.Listed | None:
    """What a backup's manifest says of a repository; None: it has no manifest, as it is older than they are.

    Raises RefsError, and NotRestored when the repository is not in it.
    """
    if not manifest.exists():
        return None
    for one in ref_manifest.read(manifest):
        if one.path == path:
            return one
    raise NotRestored(f"the backup's manifest of refs knows nothing of {path}")


def prepared(restored: Path, said: ref_manifest.Listed | None, wanted: Sequence[str], into: Path) -> dict[str, str]:
    """Makes a bare repository `into`, of the restored one's objects, with the wanted refs (none: all) as the copy calls
    them; returns these. said: what the manifest says. Raises NotRestored, also when objects are missing; RefsError."""
    if said and said.why:
        raise NotRestored(f"it was broken when it was saved: {said.why}")
    found = refs.refs(restored)
    if said and found != said.refs:
        other = sorted(name for name in found.keys() | said.refs.keys() if found.get(name) != said.refs.get(name))
        raise NotRestored(f"it has not the refs that its manifest has: {', '.join(other[:5])}; {len(other)} in all")
    if lacking := sorted({*wanted} - {*found}):
        raise NotRestored(f"the backup has no {', '.join(lacking)}, but {len(found)} other refs")
    values = {name: found.get(value.removeprefix("ref: "), value) for name, value in found.items()}
    taken = {kept_as(name): values[name] for name in wanted or found if refs.HASH.fullmatch(values[name])}
    format_ = "sha256" if any(len(value) > 40 for value in taken.values()) else "sha1"
    git("init", "-q", "--bare", f"--object-format={format_}", into)
    shutil.rmtree(into / "objects")
    (restored / "objects").rename(into / "objects")
    (into / "objects/info/alternates").unlink(missing_ok=True)
    lines = sorted(f"{value} {name}\n" for name, value in taken.items())
    lines.sort(key=lambda line: os.fsencode(line.split(" ", 1)[1]))
    (into / "packed-refs").write_bytes(os.fsencode("# pack-refs with: sorted \n" + "".join(lines)))
    git("--git-dir", into, "rev-list", "--objects", "--all", "--quiet")
    return taken


def head(restored: Path) -> str:
    """The branch that HEAD leads to; empty where it is none."""
    value = (refs.content(restored / "HEAD", refs.SMALL) or b"").decode(errors="replace").strip()
    return value.removeprefix("ref: ") if value.startswith("ref: refs/heads/") else ""
