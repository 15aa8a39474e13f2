"""What a transcript must not have, in whatever pieces it comes; and what it must have all the same."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from roles.signing.tools.ceremony import fingerprints, shares
from roles.signing.tools.ceremony.omitting import Line, Omitting
from roles.signing.tools.ceremony.shown import Shown

DIGITS = "00112233445566778899aabbccddeeff" * 2
SHARE = shares.split(bytes.fromhex(DIGITS), 2, 3)[0]
WORDS = SHARE.split()
PEM = (
    ed25519.Ed25519PrivateKey.generate()
    .private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    .decode()
    .strip()
)
AGE = "AGE-SECRET-KEY-1QQPQZ3ZXC5K2ZZR9X0TJ7QPGWKZ6L5H3W4N7V8M2R9YJ0D6T5S4QABCDEF"
YUBICO = "2-1-WWmTQj5PHGJQ4H9Y2ouURm8m75QkDOeYzFzOX1VyMpAOeF3YKYZyAVdM3WY4GErclVuA"
TOLD = "correct horse"


def transcript(shown: str, *told: str, pieces: int = 0, width: int = 80) -> tuple[str, int]:
    """Text of a transcript, and how many things were left out. pieces: shown in so many, at random places."""
    omitting, terminal = Omitting(), Shown(lambda: width)
    for secret in told:
        omitting.told(secret)
    data = shown.encode()
    cuts = sorted(random.Random(pieces).sample(range(1, len(data)), min(pieces, len(data) - 1)))
    found: list[Line] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        for text in terminal.feed(data[start:end]):
            found += omitting.line(Line(datetime.now(UTC), text))
    for text in terminal.end():
        found += omitting.line(Line(datetime.now(UTC), text))
    found += omitting.end()
    return "\n".join(line.text for line in found), omitting.left_out


def lines(*texts: str) -> str:
    return "".join(f"{text}\r\n" for text in ("before it", *texts, "after it"))


SECRETS: dict[str, tuple[str, Sequence[str]]] = {
    "a wrap key": (lines(f"key: {DIGITS}."), [DIGITS]),
    "in capitals, with 0x": (lines(f"0x{DIGITS.upper()}"), [DIGITS.upper()]),
    "glued to letters": (lines(f"wrapkey{DIGITS}xyz"), [DIGITS]),
    "of 16 bytes": (lines(DIGITS[:32]), [DIGITS[:32]]),
    "in groups": (lines(" ".join(DIGITS[at : at + 4] for at in range(0, 64, 4))), ["0011 2233", "ccdd eeff"]),
    "in pairs with colons": (lines(":".join(DIGITS[at : at + 2] for at in range(0, 64, 2))), ["00:11:22"]),
    "over two lines, as xxd -p": (lines(DIGITS[:60], DIGITS[60:]), [DIGITS[:60], f"\n{DIGITS[60:]}"]),
    "in the columns of xxd": (
        lines(f"00000000: {' '.join(DIGITS[at : at + 4] for at in range(0, 32, 4))}  .abcdefghijklmno"),
        ["0011 2233"],
    ),
    "typed over a terminal's edge": (f"$ {DIGITS[:60]}\x1b[C \r{DIGITS[60:]}\r\n".replace("\x1b[C", ""), [DIGITS[:60]]),
    "in colours": (lines(f"\x1b[31m{DIGITS[:20]}\x1b[0m{DIGITS[20:]}"), [DIGITS[:20], DIGITS[20:]]),
    "corrected while it was typed": (lines(f"{DIGITS[:10]}zz\b\b\x1b[K{DIGITS[10:]}"), [DIGITS[:10], DIGITS[20:]]),
    "a share": (lines(f"my share: {SHARE}"), WORDS),
    "a share, a word a line": (lines(*WORDS), WORDS),
    "a share, numbered": (lines(*(f"{at:2}. {word}" for at, word in enumerate(WORDS, 1))), WORDS),
    "a share in capitals": (lines(SHARE.upper()), [word.upper() for word in WORDS]),
    "a share of yubihsm-setup": (lines(YUBICO), [YUBICO[4:]]),
    "a private key": (lines(*PEM.splitlines()), PEM.splitlines()),
    "a private key, quoted": (lines(*(f"> {line}" for line in PEM.splitlines())), PEM.splitlines()),
    "a private key without its end": (lines(*PEM.splitlines()[:-1]), PEM.splitlines()[:-1]),
    "an age key": (lines(f"# secret\t{AGE}"), [AGE]),
    "an option": (lines("$ yubihsm-shell -a x -p hunter22 -i 1"), ["hunter22"]),
    "a PIN": (lines("$ pkcs11-tool --login --pin '0001 hunter22'"), ["hunter22"]),
    "a PIN in an address": (lines("pkcs11:object=x?pin-value=0001hunter22"), ["hunter22"]),
}


@pytest.mark.parametrize("pieces", [0, 1, 7, 400])
@pytest.mark.parametrize("what", SECRETS)
def test_it_is_left_out(what: str, pieces: int) -> None:
    shown, secrets = SECRETS[what]
    text, count = transcript(shown, pieces=pieces)
    assert [one for one in secrets if one in text] == []
    assert count
    if shown.startswith("before it"):
        assert text.startswith("before it\n")
        assert text.endswith("after it")


@pytest.mark.parametrize("pieces", [0, 1, 7, 400])
def test_what_it_was_told_is_left_out(pieces: int) -> None:
    text, count = transcript(lines(f"$ echo {TOLD}!", TOLD), TOLD, pieces=pieces)
    assert (TOLD in text, count) == (False, 2)


def test_a_key_that_it_was_told_is_no_digest() -> None:
    text, count = transcript(lines(f"SHA256 {DIGITS.upper()}"), DIGITS)
    assert (DIGITS.upper() in text, count) == (False, 1)


KEPT = {
    "a hash to read aloud": lines("hsm.toml: primary", *fingerprints.aloud(DIGITS), "public key 0x0101 x"),
    "sha256sum --tag": lines(f"SHA256 (hsm.toml) = {DIGITS}"),
    "a commit": lines("0123456789abcdef0123456789abcdef01234567"),
    "the factory's password": lines("Password of 0x0001 is password"),
    "files": lines("$ yubihsm-shell -p file:secret -a x", "$ mainstay hsm plan --password-file admin=FILE"),
    "a certificate": lines("-----BEGIN CERTIFICATE-----", "MIIBszCCAVmgAwIBAgIU", "-----END CERTIFICATE-----"),
    "prose": lines("a device and its key, as it was when the law gave us time to force the evidence"),
    "a table": lines("total 64", "-rw------- 1 root root 956 Nov 27 22:39 t.txt", "12 34 56"),
    "a wrap key's public face": lines("wrap-key 0x0200 main: put in: 3 of its shares make it"),
}


@pytest.mark.parametrize("what", KEPT)
def test_it_is_kept(what: str) -> None:
    text, count = transcript(KEPT[what], "password")
    assert text == KEPT[what].replace("\r\n", "\n").strip("\n")
    assert count == 0


def test_lines_wait_only_for_what_may_go_on() -> None:
    omitting = Omitting()
    now = datetime.now(UTC)
    assert [line.text for line in omitting.line(Line(now, "$ ls"))] == ["$ ls"]
    assert omitting.line(Line(now, WORDS[0])) == []
    assert [line.text for line in omitting.line(Line(now, "nothing"))] == [WORDS[0], "nothing"]


def test_what_was_typed_over_is_not_in_it() -> None:
    text, _ = transcript("$ lss\b \b -l\r\n 10 %\r 50 %\r100 %\x1b[K\r\ncaf\u00e9\r\n", width=40)
    assert text == "$ ls -l\n100 %\ncaf\u00e9"


def test_lines_are_as_long_as_they_were_typed() -> None:
    """A shell's line editor goes on in the next row by a space and a return."""
    text, _ = transcript(f"$ {'x' * 38} \r{'y' * 10}\r\n", width=40)
    assert text == f"$ {'x' * 38}{'y' * 10}"


def test_a_sequence_that_never_ends_hides_nothing_for_ever() -> None:
    text, _ = transcript("\x1b]0;" + "a" * 5000 + "\r\nseen\r\n", pieces=30)
    assert text.endswith("seen")
