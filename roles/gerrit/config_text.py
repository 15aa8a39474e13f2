"""Text in the form of git's configuration (git-config(1), CONFIGURATION FILE), which Gerrit's files have. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from inventories.typed import Typed

ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"})


class FromSecrets(Typed):
    """A value that is a secret of the site: it goes to secure.config."""

    secret: str


Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
Plain = bool | int | Text | tuple[Text, ...]
"""Of several values each has a line."""
Value = Plain | FromSecrets
Section = Annotated[str, Field(pattern=r'^[A-Za-z][A-Za-z0-9-]*( "[^"\\\x00-\x1f]+")?$')]
"""`name`, or `name "subsection"`."""
Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]
Sections = dict[Section, dict[Key, Value]]


def text(sections: Mapping[str, Mapping[str, Plain]]) -> str:
    """The sections; of those without keys nothing."""
    return "".join(
        f"[{section}]\n" + "".join(f"\t{key} = {_said(one)}\n" for key, value in keys.items() for one in _each(value))
        for section, keys in sections.items()
        if keys
    )


def _each(value: Plain) -> Sequence[bool | int | str]:
    return value if isinstance(value, tuple) else (value,)


def _said(value: bool | int | str) -> str:
    """Quoted where JGit quotes, so that `init`, which may write a file anew, writes the same."""
    if not isinstance(value, str):
        return str(value).lower()
    quote = '"' if value != value.strip(" ") or {"#", ";"} & {*value} else ""
    return f"{quote}{value.translate(ESCAPES)}{quote}"


def plain(sections: Sections) -> dict[str, dict[str, Plain]]:
    """Without the values that are secrets."""
    return {
        name: {key: value for key, value in keys.items() if not isinstance(value, FromSecrets)}
        for name, keys in sections.items()
    }


def secret(sections: Sections) -> dict[str, dict[str, str]]:
    """The names of those that are secrets."""
    found = {
        name: {key: value.secret for key, value in keys.items() if isinstance(value, FromSecrets)}
        for name, keys in sections.items()
    }
    return {name: keys for name, keys in found.items() if keys}
