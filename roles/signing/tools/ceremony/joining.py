"""Where a wrap key's hexadecimal digits come from when they are joined of shares.

They are joined in the process that sends them to the device, and go nowhere else: a command that put them out for
another one would have them on a terminal as soon as somebody forgets the pipe.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from roles.signing.tools import passwords
from roles.signing.tools.ceremony import shares
from roles.signing.tools.errors import HsmError
from roles.signing.tools.state.declaration import WrapKey


def sources(wrap_keys: Mapping[str, WrapKey], options: Sequence[str]) -> dict[str, Callable[[], str]]:
    """By the names of keys. options: `KEY=FILE` each, the words of a share; they are read and joined at once.

    Of a key with declared shares and none of these, the holders are asked. Raises HsmError.
    """
    found: dict[str, Callable[[], str]] = {name: partial(_asked, name) for name, one in wrap_keys.items() if one.shares}
    texts: dict[str, list[tuple[str, str]]] = {}
    for option in options:
        name, _, path = option.partition("=")
        if name not in wrap_keys or not path:
            known = ", ".join(wrap_keys) or "none"
            raise HsmError(f"--share {option}: must be KEY=FILE, KEY one of the wrap keys: {known}")
        texts.setdefault(name, []).append((path, passwords.file(Path(path))))
    for name, words in texts.items():
        joined = shares.given(words, f"wrap key {name}").hex()
        found[name] = partial(str, joined)
    return found


def _asked(name: str) -> str:
    if not sys.stdin.isatty():
        told = f"no shares of {name}: give --share {name}=FILE for each"
        raise HsmError(f"{told}; there is no terminal where its holders could type them")
    return shares.asked(f"wrap key {name}").hex()
