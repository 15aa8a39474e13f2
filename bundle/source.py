"""This repository at one commit as a tar file, with one site's inventory and no other's."""

import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath

from inventories.errors import InputError
from inventories.inventory import CLONE, LoadedSite

FILE = "source.tar"


@dataclass(frozen=True)
class Commit:
    """Of this clone, with nothing changed since."""

    id: str
    time: int
    """The committer's, in Unix seconds."""


def head(site: LoadedSite) -> Commit:
    """What a bundle is made of. Raises InputError where that is not all that lies here, or the site is not in it."""
    for path in (site.path, site.path.with_suffix(".py"), site.files):
        if not path.is_relative_to(CLONE):
            hint = f"put the inventory and its files into {CLONE}/inventories, and commit them"
            raise InputError(site.path, "", f"{path} is not in this clone: a bundle is of one commit of it", hint)
    if changed := _git("status", "--porcelain", "--untracked-files=all"):
        hint = "commit it, or take it away: a bundle is of one commit, and names it"
        raise InputError(CLONE, "", f"is not as committed:\n{changed.rstrip()}", hint)
    commit, time = _git("log", "-1", "--format=%H %ct").split()
    return Commit(commit, int(time))


def archive(site: LoadedSite, commit: Commit) -> bytes:
    """The tar file: the same for the same commit, whoever makes it."""
    packed = subprocess.run(
        ["git", "-C", CLONE, "archive", "--format=tar", commit.id], capture_output=True, check=True
    ).stdout
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(packed)) as whole, tarfile.open(fileobj=out, mode="w") as made:
        members = sorted((one for one in whole if one.isfile() or one.issym()), key=lambda one: one.name)
        others = other_sites([one.name for one in members], site)
        for one in members:
            if others.isdisjoint({one.name, *map(str, PurePosixPath(one.name).parents)}):
                one.uid = one.gid = 0
                one.uname = one.gname = "root"
                one.mode = 0o755 if one.mode & 0o100 else 0o644
                one.mtime = commit.time
                one.pax_headers = {}
                made.addfile(one, whole.extractfile(one) if one.isfile() else None)
    return out.getvalue()


def other_sites(names: list[str], site: LoadedSite) -> set[str]:
    """Files and folders of the inventories of other sites, which a host of this one has no use for."""
    tables = [PurePosixPath(name) for name in names if PurePosixPath(name).match("inventories/*.toml")]
    others = {one.stem for one in tables} - {site.path.stem}
    found = {f"inventories/{stem}{suffix}" for stem in others for suffix in ("", ".py", ".toml")}
    return found - {str(site.files.relative_to(CLONE))}


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", CLONE, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(CLONE, "", done.stderr.strip(), "a bundle is of one commit of a clone")
    return done.stdout
