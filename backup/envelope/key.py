"""What opens the letter, and is on paper alone: 128 random bits, as they are or in shares (SLIP-39).

Of shares that were made together, as many as are needed make the key, and fewer tell nothing of it; they have a
checksum of their own, and what they make has one too (SLIP-39, "Checksum" and "Shamir's secret sharing"). The letter is
an age file with a passphrase, which is the key in 32 hexadecimal digits: `age -d` takes it.
"""

import base64
import re
import secrets
import textwrap
from collections.abc import Sequence

import pyrage
from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share

from backup.envelope.lines import Sheet
from backup.sizes import be
from inventories.errors import InputError

BYTES = 16
MOST = 16
"""So many shares there can be (SLIP-39)."""
KEY, LETTER = "KEY", "LETTER"
SHARE = re.compile(r"SHARE-\d+-OF-\d+")
ARMOR = ("-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----")
TOO_SLOW, ATTEMPTS = "Excessive work", 5
"""What pyrage says where trying a passphrase would take this machine 16 times what it took the one that sealed it, and
how often it is asked: it measures that anew each time, and so much else runs at times."""
IN_A_ROW, DIGITS, LETTERS = 4, 4, 5
"""Words or groups of digits in a line; digits, and letters, in a group."""
LETTER_GROUPS = 10


def new() -> bytes:
    """A key."""
    return secrets.token_bytes(BYTES)


def rows(key: bytes, needed: int, count: int) -> dict[str, tuple[str, ...]]:
    """What is printed of it, by the kind of the sheet. Shares are joined once, to see that they make the key."""
    if count == 1:
        return {KEY: _rows(_groups(key.hex(), DIGITS), IN_A_ROW)}
    made: list[str]
    (made,) = generate_mnemonics(1, [(needed, count)], key)
    assert combine_mnemonics(made[-needed:]) == key
    return {f"SHARE-{at}-OF-{count}": _rows(one.split(), IN_A_ROW) for at, one in enumerate(made, 1)}


def join(where: str, sheets: Sequence[Sheet]) -> bytes:
    """The key, of the sheets that were typed. Raises InputError."""
    for sheet in sheets:
        if sheet.name.kind == KEY:
            return bytes.fromhex("".join("".join(sheet.rows).split()))
    words = {sheet.name.kind: " ".join(sheet.rows).lower() for sheet in sheets if SHARE.fullmatch(sheet.name.kind)}
    if not words:
        raise InputError(where, "", "has neither a key nor a share", "type in that sheet of the envelope, too")
    needed = Share.from_mnemonic(next(iter(words.values()))).member_threshold
    if len(words) < needed:
        hint = f"there {be([*words])} {', '.join(words)}; each counts once"
        raise InputError(where, "", f"too few shares: {len(words)} of the {needed} that make the key", hint)
    try:
        made: bytes = combine_mnemonics([*words.values()][:needed])
    except MnemonicError:  # it names words
        raise InputError(where, "", "these shares make no key: they are of two splits", "take those of one") from None
    return made


def lock(key: bytes, letter: str) -> bytes:
    """The letter as an age file."""
    locked: bytes = pyrage.passphrase.encrypt(letter.encode(), key.hex())
    return locked


def unlock(where: str, key: bytes, locked: bytes) -> str:
    """The letter, of an age file in armor or without. Raises InputError."""
    for left in reversed(range(ATTEMPTS)):
        try:
            letter: bytes = pyrage.passphrase.decrypt(locked, key.hex())
            return letter.decode()
        except pyrage.DecryptError as error:
            slow = TOO_SLOW in str(error)
        if not slow or not left:
            break
    if slow:
        hint = "try again when it is idle, or as the last sheet says, by `age -d`, which takes its time"
        raise InputError(where, "", "this machine is too slow, or too busy, to try the key on the letter", hint)
    hint = "each envelope has its own: look at the date and the six letters in line 00"
    raise InputError(where, "", "the key does not open the letter: it is another envelope's", hint)


def armored(locked: bytes) -> str:
    """An age file as text (age(1), "Armored")."""
    return "\n".join((ARMOR[0], *textwrap.wrap(base64.b64encode(locked).decode(), 64), ARMOR[1]))


def letter_rows(locked: bytes) -> tuple[str, ...]:
    """What is printed of it: base32 (RFC 4648), which has no digit that looks like a letter."""
    return _rows(_groups(base64.b32encode(locked).decode(), LETTERS), LETTER_GROUPS)


def typed_letter(sheet: Sheet) -> bytes:
    """The age file, of that sheet."""
    return base64.b32decode("".join("".join(sheet.rows).split()).upper())


def _groups(text: str, length: int) -> list[str]:
    return [text[at : at + length] for at in range(0, len(text), length)]


def _rows(words: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(" ".join(words[at : at + count]) for at in range(0, len(words), count))
