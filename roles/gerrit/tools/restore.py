"""One repository out of a backup beside the others of a running Gerrit, under a new name; and of it one ref back.

The copy is a project of its own that administrators alone read: made by Gerrit, so that it knows it, and then filled by
git on the host, as Gerrit's user. git receives objects first, looks whether they are whole, and then sets all refs or
none, by the lock files that Gerrit's JGit heeds too; each only if it still has the value that was seen. Gerrit sees new
refs without a restart (3.13).
"""

import shlex
import subprocess
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from backup import custody
from backup.agent import ref_manifest
from backup.reach import SSH_FAILED, Reach, Unreachable
from roles.gerrit.tools.rest import Request, Server, part
from roles.gerrit.tools.restore_copy import NotRestored, git, head, listed, prepared
from roles.gerrit.tools.restore_names import CONFIG, administrators, change_of, kept_as, readable_by
from roles.gerrit.tools.server import ROLE

OWNER = "gerrit"
RECEIVE = "git -c core.hooksPath=/dev/null -c receive.autogc=false receive-pack"
"""What is pushed to on the host. JGit runs no hooks of a repository, and collects garbage itself."""
ALL_PROJECTS, ALL_USERS = "All-Projects", "All-Users"


@dataclass(frozen=True)
class Gerrit:
    """A running one: by ssh to its host, and by REST as its administrator. Raises Refused as rest.py does."""

    way: Reach
    host: str
    server: Server

    def place(self, project: str) -> str:
        """Of a repository on the host."""
        return f"{custody.recovery(ROLE).root}/{below(project)}"

    def exists(self, project: str) -> bool:
        return self.server.get(f"/projects/{part(project)}") is not None

    def git(self, *words: str) -> str:
        """git on the host, as Gerrit's user. Raises NotRestored, Unreachable."""
        asked = self.way.admin(self.host, *map(shlex.quote, ("sudo", "-n", "-u", OWNER, "git", *words)))
        done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == SSH_FAILED:
            raise Unreachable(f"{self.host}: {done.stderr.strip()}")
        if done.returncode:
            raise NotRestored(f"{self.host}: git {words[-1]}: {done.stderr.strip()[-1000:]}")
        return done.stdout


def below(project: str) -> str:
    """Of a repository, below the root of what is saved."""
    return f"{custody.recovery(ROLE).repositories[0]}/{project}.git"


def copied(gerrit: Gerrit, restored: Path, project: str, name: str, wanted: Sequence[str], source: str) -> int:
    """Puts a repository beside the others, under a new name, with the wanted refs (none: all); returns how many it has.

    restored: what came out of the backup; it is used up. source: its words. Raises NotRestored, RefsError, Unreachable.
    """
    repository = restored / below(project)
    if not (repository / "objects").is_dir():
        raise NotRestored(f"{source} has no repository {project}")
    said = listed(restored / ref_manifest.FILE, below(project))
    leads_to = head(repository)
    taken = prepared(repository, said, wanted, restored / "prepared.git")
    make(gerrit, name, leads_to if leads_to in taken else "", f"{project}, {source}")
    try:
        fill(gerrit, name, restored / "prepared.git")
    except NotRestored as error:
        raise NotRestored(f"{error}. The project {name} was made and is empty: give another --as") from None
    return len(taken)


def make(gerrit: Gerrit, name: str, head: str, what: str) -> None:
    """An empty project that administrators alone see. what: is in it, for its description. Raises NotRestored."""
    if gerrit.exists(name):
        raise NotRestored(f"there is a project {name} already: take another --as, nothing was changed")
    all_projects = gerrit.server.ask(Request("GET", f"/projects/{ALL_PROJECTS}/access"))
    groups = administrators(all_projects)
    if not groups:
        raise NotRestored("nobody administers the server by All-Projects: nobody could read the copy")
    branches = [head] if head else []
    made = {"parent": ALL_PROJECTS, "description": what, "create_empty_commit": False, "branches": branches}
    gerrit.server.ask(Request("PUT", f"/projects/{part(name)}", made))
    gerrit.server.ask(Request("POST", f"/projects/{part(name)}/access", readable_by(groups, [all_projects])))
    gerrit.server.ask(Request("PUT", f"/projects/{part(name)}/config", {"state": "READ_ONLY"}))
    if gerrit.server.anybody_sees(f"/projects/{part(name)}"):
        raise NotRestored(f"the project {name} was made, and anybody sees it: it was left empty. See its access rights")


def fill(gerrit: Gerrit, name: str, source: Path) -> None:
    """All refs of a repository of this machine into a project on the host. Raises NotRestored."""
    way = {"GIT_SSH_COMMAND": " ".join(map(shlex.quote, gerrit.way.ssh))}
    words = ["--git-dir", str(source), "push", "-q", "--atomic", f"--receive-pack=sudo -n -u {OWNER} {RECEIVE}"]
    git(*words, f"{gerrit.host}:{gerrit.place(name)}", "refs/*:refs/*", env=way)


def put_back(gerrit: Gerrit, copy: str, project: str, wanted: Sequence[str], *, replace: bool) -> list[str]:
    """Refs of the copy into a project, all or none; returns what was done to each. Raises NotRestored, Unreachable.

    replace: also those that have another value by now.
    """
    if project == ALL_USERS:
        raise NotRestored(
            f"{project}: accounts and groups are many refs that belong together: restore the whole data set"
        )
    for one in (copy, project):
        if not gerrit.exists(one):
            raise NotRestored(f"there is no project {one}")
    new, old = values(gerrit, copy), values(gerrit, project)
    if lacking := [ref for ref in wanted if kept_as(ref) not in new]:
        raise NotRestored(f"{copy} has no {', '.join(lacking)}: restore it, or more of it, first")
    moves = {ref: (old.get(ref, ""), new[kept_as(ref)]) for ref in wanted}
    different = [f"{ref} is {was}" for ref, (was, becomes) in moves.items() if was not in ("", becomes)]
    if different and not replace:
        raise NotRestored(f"{project}: {'; '.join(different)}: --replace puts the restored one in its place")
    moved = {ref: move for ref, move in moves.items() if move[0] != move[1]}
    if moved:
        leases = [f"--force-with-lease={ref}:{was}" for ref, (was, _) in moved.items()]
        refspecs = [f"{kept_as(ref)}:{ref}" for ref in moved]
        words = ["--git-dir", gerrit.place(copy), "push", "-q", "--atomic", f"--receive-pack={RECEIVE}", *leases]
        gerrit.git(*words, gerrit.place(project), *refspecs)
    tell_gerrit(gerrit, project, wanted, {*old, *moved})
    return [f"{ref} of {project}: {_moved(*move)}" for ref, move in moves.items()]


def _moved(was: str, becomes: str) -> str:
    return f"{becomes}, as it was" if was == becomes else f"{was or 'none'} -> {becomes}"


def values(gerrit: Gerrit, project: str) -> dict[str, str]:
    """The refs of a repository on the host, as they are on its disk."""
    out = gerrit.git("--git-dir", gerrit.place(project), "for-each-ref", "--format=%(objectname) %(refname)")
    return {name: value for value, name in (line.split(" ", 1) for line in out.splitlines())}


def tell_gerrit(gerrit: Gerrit, project: str, refs: Sequence[str], there: Container[str]) -> None:
    """Of refs that were set beside it: what it keeps in mind of them is read anew. there: all refs of the project."""
    for number in sorted({number for ref in refs if (number := change_of(ref))}):
        if f"refs/changes/{number % 100:02}/{number}/meta" in there:
            gerrit.server.ask(Request("POST", f"/changes/{part(project)}~{number}/index", {}))
    if CONFIG in refs:
        gerrit.server.ask(Request("POST", "/config/server/caches/projects/flush", {}))
