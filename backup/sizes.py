"""Bytes for people: the agent and the control side say them alike. Standard library only."""


def size(number: int) -> str:
    """Bytes in their largest fitting unit: 1.5 GiB."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
