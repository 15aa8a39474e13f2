"""Shares of a wrap key by SLIP-39: of N that were made together, any M make the key, and fewer tell nothing of it.

A share is 20 words for 16 bytes, 33 for 32, from a list of 1024. Its last three are a checksum of the others, by which
up to three wrong words are always found, and what M shares make has a digest of its own: a wrong key never comes out
(SLIP-39, "Checksum" and "Shamir's secret sharing"). No passphrase. What is said of errors names no word.
"""

import sys
from collections.abc import Sequence
from getpass import getpass

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share
from shamir_mnemonic.wordlist import WORDLIST

from roles.signing.tools.errors import HsmError

KNOWN = frozenset(WORDLIST)


def split(secret: bytes, threshold: int, count: int) -> list[str]:
    """Words of each share; they are joined once to see that they make the secret."""
    made: list[str]
    (made,) = generate_mnemonics(1, [(threshold, count)], secret)
    assert combine_mnemonics(made[-threshold:]) == secret
    return made


def parse(text: str, where: str) -> Share:
    """where: of the share, in words. Raises HsmError."""
    words = text.lower().split()
    if not words:
        raise HsmError(f"{where}: has no words")
    unknown = [str(at) for at, word in enumerate(words, 1) if word not in KNOWN]
    if unknown:
        raise HsmError(f"{where}: mistyped: word {', '.join(unknown)} of {len(words)} is none that shares have")
    try:
        share = Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        told = f"{where}: mistyped: its {len(words)} words do not fit their checksum"
        raise HsmError(f"{told}: one is wrong, missing, or in another place") from None
    if share.group_count != 1:
        raise HsmError(f"{where}: is of a set in groups, which is not one of ours")
    return share


def fits(share: Share, others: Sequence[Share], where: str) -> None:
    """Raises HsmError where it cannot be joined with the others."""
    if others and share.common_parameters() != others[0].common_parameters():
        raise HsmError(
            f"{where}: is of another set than the one before it: shares of two keys, or of two splits, do not mix"
        )
    if any(share.index == other.index for other in others):
        raise HsmError(f"{where}: is the same share as one before it: each counts once")


def join(shares: Sequence[Share], what: str) -> bytes:
    """What they make. Raises HsmError. what: of which they are."""
    needed = shares[0].member_threshold if shares else 1
    if len(shares) < needed:
        raise HsmError(f"{what}: too few shares: {len(shares)} of the {needed} that make it")
    try:
        made: bytes = combine_mnemonics([share.mnemonic() for share in shares[:needed]])
    except MnemonicError:
        raise HsmError(f"{what}: these shares make no key: one of them is forged, or of another split") from None
    return made


def given(texts: Sequence[tuple[str, str]], what: str) -> bytes:
    """What shares make of which (where, words) were given. Raises HsmError."""
    shares: list[Share] = []
    for where, text in texts:
        share = parse(text, where)
        fits(share, shares, where)
        shares.append(share)
    return join(shares, what)


def asked(what: str) -> bytes:
    """Each holder types theirs, and nothing is shown; one that is wrong is asked for again. Raises HsmError."""
    shares: list[Share] = []
    while not shares or len(shares) < shares[0].member_threshold:
        of = f" of {shares[0].member_threshold}" if shares else ""
        where = f"share {len(shares) + 1}{of} of {what}"
        try:
            share = parse(getpass(f"{where.capitalize()}, its words, which are not shown: "), where)
            fits(share, shares, where)
        except EOFError:
            raise HsmError(f"{what}: too few shares: nothing more was typed after {len(shares)}") from None
        except HsmError as error:
            print(f"{error}; again, please", file=sys.stderr)
            continue
        shares.append(share)
    return join(shares, what)
