"""The example of roles/gerrit/README.md, as files of a site."""

import re
import textwrap
from pathlib import Path

from cloud.converge import REPOSITORY

README = REPOSITORY / "roles/gerrit/README.md"


def example(name: str) -> str:
    """The text of a file, out of the indented block that follows its name."""
    found = re.search(rf"^`{re.escape(name)}`[^\n]*:\n\n((?: {{4}}[^\n]*\n|\n)+)", README.read_text(), re.MULTILINE)
    assert found
    return textwrap.dedent(found[1])


def write_example(folder: Path) -> None:
    """Both, and the list that they name, beside an admins.toml."""
    for name in ("people.toml", "gerrit.toml"):
        (folder / name).write_text(example(name))
    (folder / "platform.txt").write_text("platform/packages/apps  # more of them\n# a comment\n\nplatform/external\n")
