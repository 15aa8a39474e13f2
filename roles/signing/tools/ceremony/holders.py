"""Who holds the shares of a wrap key, and how each gets theirs: encrypted by age to their SSH key.

age takes ssh-ed25519 and ssh-rsa (age(1), RECIPIENTS); a security key's (`sk-`) can sign, and decrypts nothing.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from inventories.files import replace
from roles.signing.tools.ceremony import shares
from roles.signing.tools.custody.git import sync_folder
from roles.signing.tools.errors import HsmError

TIMEOUT_S = 30


def file_name(key: str, number: int, holder: str) -> str:
    """Of a share, `main-2-bob.age`; shares are counted from 1."""
    return f"{key}-{number}-{holder}.age"


def hand_out(key: str, secret: bytes, threshold: int, holders: Mapping[str, str], folder: Path) -> list[Path]:
    """Splits a wrap key and writes each holder's share, which they alone can read; a file for each, or none.

    holders: SSH keys by name. Raises HsmError, OSError.
    """
    paths = [folder / file_name(key, number, name) for number, name in enumerate(holders, 1)]
    for path in paths:
        if path.exists():
            told = "is there already, and may be what is left of a key in use: take another folder, or move it away"
            raise HsmError(f"{path}: {told}")
    words = shares.split(secret, threshold, len(holders))
    sealed = [_sealed(text, name, of) for text, (name, of) in zip(words, holders.items(), strict=True)]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in zip(paths, sealed, strict=True):
        replace(path, content, 0o600)
    sync_folder(folder)
    return paths


def _sealed(text: str, name: str, key: str) -> bytes:
    """The share goes by a pipe: it is on no command line, and on no disk."""
    try:
        done = subprocess.run(
            ["age", "--encrypt", "--armor", "--recipient", key],
            input=f"{text}\n".encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise HsmError("age: not installed on this machine") from None
    except subprocess.TimeoutExpired:
        raise HsmError(f"age: still running after {TIMEOUT_S} s") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise HsmError(f"the share of {name} was not encrypted, and none is written: {said}")
    return done.stdout
