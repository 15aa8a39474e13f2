"""Reads a runbook as an admin in need does: the names first, then every command as it stands."""

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.converge import REPOSITORY
from tests.saved_site import Saved
from tests.terminal import answered

RUNBOOKS = REPOSITORY / "docs/runbooks"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("bash", "-eu", "-c")
NAME = re.compile(r"^((?:export )?)(\w+)=(.*?)(?:\s+#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Runbook:
    """A page of docs/runbooks."""

    name: str

    @property
    def text(self) -> str:
        return (RUNBOOKS / f"{self.name}.md").read_text()

    @property
    def sections(self) -> dict[str, str]:
        """The commands below each heading, in order; those before the first, by "", set the names."""
        first, *others = re.split(r"^## (.*)\n", self.text, flags=re.MULTILINE)
        parts = {"": first} | dict(zip(others[::2], others[1::2], strict=True))
        return {title: "".join(BLOCK.findall(part)) for title, part in parts.items() if BLOCK.search(part)}

    @property
    def names(self) -> set[str]:
        """Those that the first block sets."""
        return {found[2] for found in NAME.finditer(self.sections[""])}

    def script(self, titles: Sequence[str], names: Mapping[str, object]) -> str:
        """The commands below these headings, with these names in the place of the page's examples: exactly its own."""
        sections = self.sections
        assert self.names == {*names}, f"{self.name}: names {self.names ^ {*names}}"
        setting = NAME.sub(lambda found: f"{found[1]}{found[2]}={shlex.quote(str(names[found[2]]))}", sections[""])
        return "\n".join([setting, *(sections[title] for title in titles)])


def follow(saved: Saved, name: str, /, *titles: str, editor: str = "false", **names: Any) -> str:
    """What the commands say, in one shell that ends with the first that fails. editor: what is typed into secrets."""
    path = f"{REPOSITORY / '.venv/bin'}:{saved.environment['PATH']}"
    environment = saved.environment | {"PATH": path, "EDITOR": editor, "PYINFRA_PROGRESS": "off"}
    place = {"cwd": REPOSITORY, "env": environment}
    return follow_in(SHELL, place, name, *titles, **{"MAINSTAY_INVENTORY": saved.inventory, **names})


def follow_in(shell: Sequence[str], place: Mapping[str, Any], name: str, /, *titles: str, **names: Any) -> str:
    """The same somewhere else. shell: what runs the script that is its last word; place: as of subprocess.Popen."""
    script = Runbook(name).script(titles, names)
    done = subprocess.run(
        [*shell, script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **place,
    )
    return _well(name, titles, script, done.returncode, done.stdout)


def follow_at_a_terminal(
    place: Mapping[str, Any], answers: Mapping[str, Sequence[str]], name: str, /, *titles: str, **names: Any
) -> str:
    """The same where somebody sits who is asked, for passwords above all. answers: as of tests/terminal.py."""
    script = Runbook(name).script(titles, names)
    seen, code = answered([*SHELL, script], answers, **place)
    return _well(name, titles, script, code, seen)


def _well(name: str, titles: Sequence[str], script: str, code: int, said: str) -> str:
    assert code == 0, f"{name}, {titles}: exit code {code}\n{script}\n{said}"
    return said


def editing(folder: Path, what: str) -> str:
    """An editor that does with the file `$1` what a person would."""
    editor = folder / "editor"
    editor.write_text(f"#!/bin/sh\nset -e\n{what}\n")
    editor.chmod(0o755)
    return str(editor)
