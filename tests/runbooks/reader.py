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

RUNBOOKS = REPOSITORY / "docs/runbooks"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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

    def script(self, titles: Sequence[str], names: Mapping[str, object]) -> str:
        """The commands below these headings, with these names in the place of the page's examples: exactly its own."""
        sections = self.sections
        wanted = {found[2] for found in NAME.finditer(sections[""])}
        assert wanted == {*names}, f"{self.name}: names {wanted ^ {*names}}"
        setting = NAME.sub(lambda found: f"{found[1]}{found[2]}={shlex.quote(str(names[found[2]]))}", sections[""])
        return "\n".join([setting, *(sections[title] for title in titles)])


def follow(saved: Saved, name: str, *titles: str, editor: str = "false", **names: Any) -> str:
    """What the commands say, in one shell that ends with the first that fails. editor: what is typed into secrets."""
    path = f"{REPOSITORY / '.venv/bin'}:{saved.environment['PATH']}"
    script = Runbook(name).script(titles, {"MAINSTAY_INVENTORY": saved.inventory, **names})
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=REPOSITORY,
        env=saved.environment | {"PATH": path, "EDITOR": editor, "PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}, {titles}: exit code {done.returncode}\n{script}\n{done.stdout}"
    return done.stdout


def editing(folder: Path, what: str) -> str:
    """An editor that does with the file `$1` what a person would."""
    editor = folder / "editor"
    editor.write_text(f"#!/bin/sh\nset -e\n{what}\n")
    editor.chmod(0o755)
    return str(editor)
