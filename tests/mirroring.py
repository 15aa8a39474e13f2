"""A mirror of a forge's repositories on this machine, brought up to date by the program that hosts run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backup.certificate import new_key, self_signed
from roles.gitmirror.program import program
from tests.git_server import Forge, forge, git
from tests.waiting import until


@contextmanager
def listing(folder: Path, names: Sequence[str]) -> Iterator[Forge]:
    """A forge by https that lists these repositories, a commit in each."""
    root, key = folder / "source", new_key()
    root.mkdir()
    (folder / "key.pem").write_text(key)
    authority = folder / "certificate.pem"
    authority.write_text(self_signed(key, ("localhost",)))
    with forge(root, authority) as made:
        for name in names:
            made.make(name, {"a": f"{name}\n"})
        made.projects = [*names]
        yield made


@dataclass
class Mirror:
    """folder: its volume; source: what it is a mirror of; more: settings other than the usual."""

    folder: Path
    source: Forge
    more: dict[str, Any] = field(default_factory=dict)
    programs: str = ""
    """A folder with programs that go before this machine's."""

    def __post_init__(self) -> None:
        for name in ("public", "incoming", "state", "metrics"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "gitmirror.pyz").write_bytes(program())

    def begin(self, **more: Any) -> "subprocess.Popen[str]":
        """A run that is under way, in a process group of its own."""
        places = {"folder": self.folder, "state": self.folder / "state", "metrics": self.folder / "metrics"}
        plan = {name: str(place) for name, place in places.items()}
        plan |= {"source": self.source.url, "authority": str(self.source.authority)}
        (self.folder / "plan.json").write_text(json.dumps(plan | self.more | more))
        environment = os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}".removeprefix(":")}
        words = [sys.executable, "-I", str(self.folder / "gitmirror.pyz"), str(self.folder / "plan.json")]
        return subprocess.Popen(
            words, env=environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, **more: Any) -> tuple[int, str]:
        """Exit code, and what it said."""
        with self.begin(**more) as running:
            said, _ = running.communicate()
        return running.returncode, said

    def well(self, **more: Any) -> str:
        """What a run says that has to find nothing to tell people of."""
        code, said = self.run(**more)
        assert code == 0, said
        return said

    def at_work(self) -> list[int]:
        """Processes of a run, those that it left too: they hold its lock."""
        lock = str(self.folder / "state/lock")
        found = set()
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):
                if str(link.readlink()) == lock:
                    found.add(int(link.parts[2]))
        return sorted(found)

    def kill(self) -> None:
        """All of them at once, as systemd or a power cut does."""
        for pid in self.at_work():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until("they are gone", lambda: not self.at_work())

    @property
    def status(self) -> Any:
        return json.loads((self.folder / "state/status.json").read_text())

    def place(self, name: str) -> Path:
        return self.folder / f"public/{name}.git"

    def names(self) -> list[str]:
        """Of all repositories that would be served."""
        found = (self.folder / "public").rglob("*.git")
        return sorted(str(one.relative_to(self.folder / "public")).removesuffix(".git") for one in found)

    def refs(self, name: str, below: str = "refs/heads refs/tags") -> dict[str, str]:
        return refs(self.place(name), below)

    def agrees(self, *names: str) -> bool:
        """Whether these have the source's refs, its default branch, and all that they lead to."""
        for name in names:
            git(self.place(name), "fsck", "--connectivity-only", "--no-dangling")
            head = [(folder / "HEAD").read_text() for folder in (self.place(name), self.source.folder(name))]
            if head[0] != head[1] or self.refs(name) != refs(self.source.folder(name)):
                return False
        return True


def refs(folder: Path, below: str = "refs/heads refs/tags") -> dict[str, str]:
    """Objects by ref."""
    lines = git(folder, "for-each-ref", "--format=%(refname) %(objectname)", *below.split()).splitlines()
    return dict(line.split(" ") for line in lines)
