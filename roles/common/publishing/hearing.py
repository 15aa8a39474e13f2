"""Who is told how publishing goes."""

from typing import Protocol


class Hearing(Protocol):
    """A step is of all servers; bytes are of all servers together."""

    def step(self, name: str, total: int = 0) -> None: ...

    def progress(self, count: int) -> None: ...

    def note(self, text: str) -> None: ...


class Nobody:
    """Is told nothing."""

    def step(self, name: str, total: int = 0) -> None: ...

    def progress(self, count: int) -> None: ...

    def note(self, text: str) -> None: ...
