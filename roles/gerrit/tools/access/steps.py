"""What there is to do, in words and as what is asked of Gerrit."""

from dataclasses import dataclass, field

from roles.gerrit.tools.rest import Request


@dataclass(frozen=True)
class Step:
    """One thing of one group, account or project. words: each a difference."""

    about: str
    words: tuple[str, ...]
    introduced: tuple[str, str, str] | None = None
    """Who is told to Gerrit first: name, full name and e-mail address."""
    requests: tuple[Request, ...] = field(default=(), repr=False)
    project: str = ""
    """Whose configuration is written once the requests are done; empty: none's."""

    def __str__(self) -> str:
        return "\n".join([self.about, *(f"  {line}" for line in self.words)])
