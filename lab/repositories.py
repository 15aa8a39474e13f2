"""The git repositories that the project keeps apart from its release server: metadata, and the list of checksums.

The lab's daemon serves them as plain files on the gateway's addresses, so that hosts reach them; this machine pushes to
them where they lie.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import sample
from lab.command import run
from lab.engine import LabConfig

PORT = 7071
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
GIT = ("env", "-i", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), "git")


@dataclass(frozen=True)
class Kept:
    """A repository. write: its first commit's files, below a folder; said: that commit's message."""

    name: str
    write: Callable[[Path], None]
    said: str

    def path(self, config: LabConfig) -> Path:
        """Where it lies, and is pushed to."""
        return folder(config) / self.name

    def url(self, config: LabConfig) -> str:
        """As the lab's hosts and this machine read it."""
        return f"http://{config.gateway4}:{PORT}/{self.name}"

    def first(self, config: LabConfig) -> str:
        """The commit that it was made with. Raises EngineError."""
        return run("git", f"--git-dir={self.path(config)}", "rev-list", "--max-parents=0", "main").strip()


CHECKSUMS = Kept("checksums.git", sample.checksums, "Checksums of all releases")
METADATA = Kept("metadata.git", sample.metadata, "What phones are offered")


def make(config: LabConfig) -> None:
    """Makes those that are missing: one commit each, whose id is the same in every lab. Raises EngineError."""
    for one in (CHECKSUMS, METADATA):
        if not one.path(config).exists():
            _make(config, one)


def _make(config: LabConfig, one: Kept) -> None:
    bare = one.path(config)
    bare.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=config.root) as scratch:
        files, fresh = Path(scratch) / "files", Path(scratch) / one.name
        one.write(files)
        run(*GIT, "init", "--quiet", "--bare", "--initial-branch=main", fresh)
        there = (*GIT, f"--git-dir={fresh}", f"--work-tree={files}")
        run(*there, "config", "receive.updateServerInfo", "true")  # plain files tell nothing by themselves
        run(*there, "add", "--all")
        run(*there, "commit", "--quiet", f"--message={one.said}")
        run(*there, "repack", "-a", "-d", "--quiet")
        run(*there, "update-server-info")
        fresh.rename(bare)


def folder(config: LabConfig) -> Path:
    """What the lab's daemon serves."""
    return config.root / "git"
