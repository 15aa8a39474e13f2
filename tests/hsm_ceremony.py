"""People at the signing host: who holds shares, and what each answers; and a printed checklist, followed."""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from roles.signing.tools.ceremony.paper import INDENT, MORE, PROMPT
from tests.hsm_site import PASSWORDS, Site
from tests.terminal import Terminal

HOLDERS = ("alice", "bob", "carol", "dave", "erin")
THRESHOLD = 3
SHELL = r"bash-[0-9.]+[#$] "


class Followed(NamedTuple):
    """command: as it was printed. shown: what came of it."""

    command: str
    shown: str


class Holders:
    """Each with an SSH key, as ssh-keygen makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in HOLDERS:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)

    @property
    def declared(self) -> str:
        keys = "".join(f'{name} = "{(self.folder / f"{name}.pub").read_text().strip()}"\n' for name in HOLDERS)
        return f"[wrap_keys.main.shares]\nthreshold = {THRESHOLD}\n[wrap_keys.main.shares.holders]\n{keys}\n"

    def declare(self, site: Site) -> None:
        site.change("[classes.exportable]\n", f"{self.declared}[classes.exportable]\n")

    def words(self, name: str, shares: Path) -> str:
        """Of a share, as its holder reads it by age."""
        (path,) = shares.glob(f"main-*-{name}.age")
        done = subprocess.run(["age", "-d", "-i", self.folder / name, path], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def files(self, names: Sequence[str], shares: Path) -> list[Path]:
        """With the words in them, for their owner alone."""
        found = []
        for name in names:
            path = self.folder / f"{name}.words"
            path.write_text(self.words(name, shares) + "\n")
            path.chmod(0o600)
            found.append(path)
        return found


def commands(printed: str) -> list[str]:
    """Of a checklist's text: lines that go on in the next one end with a backslash."""
    found: list[str] = []
    for line in printed.splitlines():
        if line.startswith(INDENT + PROMPT):
            found.append(line.removeprefix(INDENT + PROMPT))
        elif line.startswith(INDENT + MORE):
            found[-1] += "\n" + line.removeprefix(INDENT + MORE)
    return found


def follow(
    site: Site,
    printed: str,
    programs: Path,
    *,
    shares: Iterable[str] = (),
    before: Mapping[str, Callable[[], object]] | None = None,
    fill: Callable[[str, Sequence[Followed]], str] = lambda command, _: command,
) -> list[Followed]:
    """Types each command as it is printed, into a shell, and answers what it asks.

    programs: a folder of them, first on the path. shares: words, as holders type them. before: what a person does
    before a command. fill: what a person writes in the place of what is left blank.
    """
    typed = iter(shares)
    prompts: dict[str, Callable[[re.Match[str]], str]] = {
        r"Password of 0x0001: ": lambda _: PASSWORDS["factory"],
        r"Password of (\w+)(?:, again)?: ": lambda found: PASSWORDS[found[1]],
        r"Share \d+(?: of \d+)? of wrap key main, its words, which are not shown: ": lambda _: next(typed),
        r"Make these changes\? \[y/N\]: ": lambda _: "y",
        r"Enter [Pp]assword: ?": lambda _: PASSWORDS["factory"],
    }
    asked = re.compile(f"(?:{'|'.join([SHELL, *prompts])})$")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "MAINSTAY_HSM": str(site.file),
        "TERM": "xterm",
    }
    terminal = Terminal(["bash", "--noprofile", "--norc", "-i"], environment, site.folder)
    terminal.read(asked)
    done: list[Followed] = []
    for command in commands(printed):
        (before or {}).get(command, lambda: None)()
        for line in fill(command, done).splitlines():
            terminal.type(line)
            if line.endswith("\\"):
                terminal.read(re.compile(r"> $"))
        shown = ""
        while True:
            more, found = terminal.read(asked)
            shown += more
            if re.fullmatch(SHELL, found[0]):
                break
            terminal.type(
                next(answer(match) for form, answer in prompts.items() if (match := re.fullmatch(form, found[0])))
            )
        done.append(Followed(command, shown))
    terminal.type("exit")
    terminal.end()
    return done
