"""The list of checksums that the project keeps apart from its release server: a git repository, over http.

The lab's daemon serves it as plain files on the gateway's addresses, so that hosts reach it.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from lab import sample
from lab.command import run
from lab.engine import LabConfig

PORT = 7071
NAME = "checksums.git"
WHO, WHEN = "Example OS releases", f"{sample.CURRENT.timestamp} +0000"
ENVIRONMENT = {
    "GIT_AUTHOR_DATE": WHEN,
    "GIT_AUTHOR_EMAIL": "releases@example.org",
    "GIT_AUTHOR_NAME": WHO,
    "GIT_COMMITTER_DATE": WHEN,
    "GIT_COMMITTER_EMAIL": "releases@example.org",
    "GIT_COMMITTER_NAME": WHO,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": "/usr/bin:/bin",
}


def url(config: LabConfig) -> str:
    """The repository as the lab's hosts and this machine reach it."""
    return f"http://{config.gateway4}:{PORT}/{NAME}"


def make(config: LabConfig) -> None:
    """Makes the repository unless it is there: one commit, whose id is the same in every lab. Raises EngineError."""
    bare = folder(config) / NAME
    if bare.exists():
        return
    bare.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=config.root) as scratch:
        files, fresh = Path(scratch) / "files", Path(scratch) / NAME
        sample.checksums(files)
        git = ("env", "-i", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), "git")
        run(*git, "init", "--quiet", "--bare", "--initial-branch=main", fresh)
        there = (*git, f"--git-dir={fresh}", f"--work-tree={files}")
        run(*there, "add", "--all")
        run(*there, "commit", "--quiet", "--message=Checksums of all releases")
        run(*there, "repack", "-a", "-d", "--quiet")
        run(*there, "update-server-info")
        fresh.rename(bare)


def folder(config: LabConfig) -> Path:
    """What the lab's daemon serves."""
    return config.root / "git"
