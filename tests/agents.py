"""The agent as hosts have it, with restic and a repository on this machine."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup import ledger
from backup.entry import Entry
from backup.restic import Restic
from backup.restic_process import Repository
from backup.zipapp import zipapp
from tests.restics import restic

PASSWORD = "a long one"


def plan(**given: Any) -> dict[str, Any]:
    """The content of the plan file `data`; url and root have to be given."""
    content = {
        "name": "data",
        "host": "alice",
        "password": PASSWORD,
        "ca": "",
        "s3_region": "",
        "s3_access_key": "",
        "s3_secret_key": "",
        "may": "save",
        "owner": "",
        "paths": ["."],
        "exclude": [],
        "consistency": "files",
        "repositories": [],
        "command": [],
        "before": [],
        "after": [],
        "rpo_hours": 24,
    }
    return content | given


@dataclass(frozen=True)
class Agent:
    """A folder with plans, state, one repository, and the zipapp."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("plans", "bin"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "bin/restic").symlink_to(restic())
        (self.folder / "backup.pyz").write_bytes(zipapp())

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def state(self) -> Path:
        return self.folder / "state/data"

    @property
    def restic(self) -> Restic:
        """restic on the same repository, apart from the agent."""
        at = Repository(str(self.repository), PASSWORD, cache=self.folder / "cache")
        return Restic(at, restic(), lock_wait_s=0)

    def plan(self, root: Path, **change: Any) -> None:
        """Writes the plan `data`."""
        path = self.folder / "plans/data.json"
        path.write_text(json.dumps(plan(**{"url": str(self.repository), "root": str(root)} | change)))
        path.chmod(0o600)

    def words(self, *words: str) -> list[str]:
        folders = ["--plans", str(self.folder / "plans"), "--state", str(self.folder / "state")]
        return [sys.executable, "-I", str(self.folder / "backup.pyz"), *folders, *words]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a command of the agent says, standard error after standard output; it must end with that code."""
        done = subprocess.run(
            self.words(*words), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        said = (done.stdout + done.stderr).decode(errors="surrogateescape")
        assert done.returncode == code, f"{words}: exit code {done.returncode}: {said}"
        return said

    def begin(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.words(*words), env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )

    def entries(self) -> list[Entry]:
        """The whole ledger, its chain checked."""
        return ledger.check(self.state / "ledger.jsonl")

    @property
    def last(self) -> Entry:
        return self.entries()[-1]
