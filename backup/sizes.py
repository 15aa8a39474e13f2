"""How much, for people: the agent and the control side say it alike. Standard library only."""

from collections.abc import Sequence


def size(number: int) -> str:
    """Bytes in their largest fitting unit: 1.5 GiB."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def counted(number: int, thing: str, things: str = "") -> str:
    """How many there are: 1 file, 2,000 files. things: of more than one, where an s does not make it."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def be(things: Sequence[object]) -> str:
    """`is` or `are`."""
    return "is" if len(things) == 1 else "are"


def clean(said: str) -> str:
    """Words that may come from a host, without what would steer a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in said)
