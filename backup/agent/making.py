"""Makes the repository so that a kill at any point leaves nothing that stands in the way of the next run.

`restic init` sends a key, then the config, which that key alone opens. Killed in between it leaves a key that no
append-only server lets go, and restic 0.17 and newer make no repository where a key is (0.16 makes one that nobody can
open). So restic makes both on this host, and they are sent from here: the next run finds them and goes on. Nothing of
restic's format is written here: a new repository is just these two files in empty folders, whatever it lies in
(https://restic.readthedocs.io/en/stable/100_references.html#repository-layout).
"""

import shutil
from dataclasses import replace
from pathlib import Path

from backup.agent.attempt import Job, Refused
from backup.agent.store import StoreError

CONFIG = "config"


def make(job: Job) -> None:
    """Makes the repository, which has no config. Raises Refused, StoreError, ResticError."""
    fresh = job.state.fresh
    sent = job.store.keys()
    if not sent:
        forget(job)
        there = replace(job.restic.repository, url=str(fresh), ca=None)
        replace(job.restic, repository=there).init()
    key = _key(fresh)
    if sent not in ([], [key]):
        raise Refused(
            "the vault holds a key of a repository that was never finished, and what it lacks is not on this host: "
            "nothing was ever saved there, so an admin can remove its folder on the vault (roles/vault/README.md)"
        )
    job.store.create()
    for name in (f"keys/{key}", CONFIG):
        content = (fresh / name).read_bytes()
        if job.store.get(name) is None:
            job.store.put(name, content)
        if job.store.get(name) != content:
            raise StoreError(f"{name[:13]} of the new repository did not arrive as it was sent")
    forget(job)


def forget(job: Job) -> None:
    """Removes what was to be sent."""
    shutil.rmtree(job.state.fresh, ignore_errors=True)


def _key(fresh: Path) -> str:
    """The name of the one key of a repository that was made whole here; empty if there is none."""
    if not (fresh / CONFIG).exists():
        return ""
    return next((file.name for file in (fresh / "keys").iterdir()), "")
