"""Public keys: what an OpenSSH or age public key line says, and whether it can be used here; making a pair.

Pure. An OpenSSH public key is `TYPE BASE64 COMMENT`; the base64 part is a sequence of strings, each with a length of
4 bytes before it, and the first string repeats the type (RFC 4253 section 6.6, PROTOCOL.u2f of OpenSSH for `sk-`).
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

ED25519 = "ssh-ed25519"
SECURITY_KEYS = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
REFUSED = {
    "ssh-rsa": "RSA keys are refused: their strength depends on a length nobody reviews, and old ones allow SHA-1",
    "ssh-dss": "DSA keys are refused: they are broken, and OpenSSH has removed them",
    **dict.fromkeys(
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
        "ECDSA keys are refused: one bad random number while signing reveals the key, and age cannot encrypt to them",
    ),
}
MAKE_ONE = "make one with: ssh-keygen -t ed25519 (or -t ed25519-sk on a security key), and give the line of its .pub"

TYPE = re.compile(r"[a-z0-9-]{3,30}(@[a-z0-9.-]{3,30})?")
# Strings after the type, with the length each must have; None is free (the application of a security key).
_PARTS: dict[str, tuple[int | None, ...]] = {
    ED25519: (32,),
    SECURITY_KEYS[0]: (32, None),
    SECURITY_KEYS[1]: (8, 65, None),
}


@dataclass(frozen=True)
class PublicKey:
    """A checked OpenSSH public key."""

    type: str
    blob: bytes
    comment: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def recipient(self) -> str:
        """The line without its comment, as age takes it."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"


def string(data: bytes) -> tuple[bytes, bytes]:
    """The string at the beginning of data (its length in 4 bytes before it), and the rest. Raises ValueError."""
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise ValueError("cut off")
    return data[4 : 4 + length], data[4 + length :]


def _strings(blob: bytes) -> list[bytes]:
    found = []
    while blob:
        part, blob = string(blob)
        found.append(part)
    return found


def parse(line: str) -> PublicKey:
    """Reads one line of a .pub file. Raises ValueError with what is wrong and what to do instead."""
    if "PRIVATE KEY" in line:
        raise ValueError(f"this is a private key: it must be nowhere in the repository; {MAKE_ONE}")
    if not line.isprintable():
        raise ValueError("must be one line without control characters: two keys are two entries")
    kind, _, rest = line.strip().partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    if kind in REFUSED:
        raise ValueError(f"{REFUSED[kind]}; {MAKE_ONE}")
    if kind not in _PARTS:
        what = repr(kind) if TYPE.fullmatch(kind) else "what it begins with"  # which may be a piece of a private key
        raise ValueError(f"{what} is no key type known here (options before it are not allowed); {MAKE_ONE}")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("its base64 part is malformed: copy the whole line of the .pub file") from error
    try:
        inside, *parts = _strings(blob)
    except ValueError as error:
        raise ValueError("its base64 part is cut off or damaged: copy the whole line of the .pub file") from error
    if inside != kind.encode():
        raise ValueError(
            f"says {kind} but holds {inside[:40].decode(errors='replace')!r}: copy the line of the .pub file"
        )
    lengths = _PARTS[kind]
    if len(parts) != len(lengths) or any(n not in (None, len(part)) for n, part in zip(lengths, parts, strict=True)):
        raise ValueError(f"its base64 part is not that of a {kind} key: copy the whole line of the .pub file")
    if kind == ED25519:
        _age_accepts(f"{kind} {encoded}")
    return PublicKey(kind, blob, comment.strip())


def _age_accepts(recipient: str) -> None:
    try:
        as_recipient(recipient)
    except pyrage.RecipientError as error:
        raise ValueError("is not a usable key, age refuses it: copy it again") from error


def recipient(line: str) -> str:
    """Reads what age encrypts to: `age1...`, or an ssh-ed25519 line. Raises ValueError."""
    if line.startswith("AGE-SECRET-KEY-"):
        raise ValueError("this is a secret age key: replace it by a new one, and give the `age1...` line of that")
    if line.startswith("age1"):
        _age_accepts(line)
        return line
    key = parse(line)
    if key.type != ED25519:
        raise ValueError(f"age cannot encrypt to {key.type}: give an `age1...` line (age-keygen prints one)")
    return key.recipient


def as_recipient(line: str) -> "pyrage.ssh.Recipient | pyrage.x25519.Recipient":
    """The checked line as pyrage takes it."""
    return (pyrage.x25519 if line.startswith("age1") else pyrage.ssh).Recipient.from_str(line)


def label(line: str) -> str:
    """How a recipient is named in files and messages: an SSH key by its fingerprint, an age key by itself."""
    return line if line.startswith("age1") else parse(line).fingerprint


def new_ssh() -> str:
    """A private key to log in with (ed25519), in OpenSSH's format."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_ssh(private: str) -> str:
    """The public half of a private key without passphrase, `TYPE BASE64`. Raises ValueError."""
    public = load_ssh_private_key(private.encode(), None).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def new_age() -> str:
    """A secret age key, `AGE-SECRET-KEY-1...`."""
    return str(pyrage.x25519.Identity.generate())


def public_age(secret: str) -> str:
    """What is encrypted to for that key, `age1...`. Raises ValueError."""
    try:
        return str(pyrage.x25519.Identity.from_str(secret.strip()).to_public())
    except pyrage.IdentityError as error:
        raise ValueError(f"is no secret age key: {error}") from None
