"""The names of YubiHSM's terms, as yubihsm-shell writes them, and what the library calls them."""

from collections.abc import Iterable
from enum import IntEnum
from typing import TypeVar

from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, OBJECT

E = TypeVar("E", bound=IntEnum)
FEW = 20
"""Of 56 capabilities: so many that are missing are named in place of those that are there."""
DOMAINS = range(1, 17)


def _table(members: Iterable[E]) -> dict[str, E]:
    return {member.name.lower().replace("_", "-"): member for member in members}


COMMANDS = _table(one for one in COMMAND if one != COMMAND.ERROR)
OBJECTS = _table(OBJECT)
AUDITS = _table(AUDIT)
CAPABILITIES = {str(one.name).lower().replace("_", "-"): one for one in CAPABILITY}
CAPABILITIES["put-asymmetric-key"] = CAPABILITIES.pop("put-asymmetric")
ALGORITHMS = {
    **{f"rsa{bits}": ALGORITHM[f"RSA_{bits}"] for bits in (2048, 3072, 4096)},
    **{f"ecp{bits}": ALGORITHM[f"EC_P{bits}"] for bits in (224, 256, 384, 521)},
    **{f"ecbp{bits}": ALGORITHM[f"EC_BP{bits}"] for bits in (256, 384, 512)},
    "eck256": ALGORITHM.EC_K256,
    "ed25519": ALGORITHM.EC_ED25519,
}
"""Of asymmetric keys."""
WRAPS = {f"aes{bits}-ccm-wrap": ALGORITHM[f"AES{bits}_CCM_WRAP"] for bits in (128, 192, 256)}
NEVER_LOGGED = ("get-log-entries", "set-log-index", "session-message")
"""A full log under forced audit could be neither read nor freed if these were: a factory reset alone helps then."""


def of(table: dict[str, E], member: int) -> str:
    """The name, or the number of what has none here."""
    return next((name for name, one in table.items() if one == member), str(int(member)))


def capabilities(bits: int) -> str:
    """In words, by the device's order; bits that the library does not know by their numbers."""
    ordered = sorted(CAPABILITIES.items(), key=lambda pair: int(pair[1]))
    known = [name for name, one in ordered if bits & one]
    rest = bits & ~sum(int(one) for one in CAPABILITIES.values())
    others = [name for name, _ in ordered if name not in known]
    if len(others) < FEW:
        known = ["all" + (f" but {', '.join(others)}" if others else "")]
    return ", ".join([*known, *([f"{rest:#x}"] if rest else [])])


def domains(bits: int) -> str:
    return ", ".join(str(number) for number in DOMAINS if bits & 1 << number - 1)
