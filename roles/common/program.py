"""Runs a program of on_host/ on a host. Program and orders go over standard input: no process list or log has them."""

import base64
import json
import zlib
from functools import cache
from pathlib import Path

from pyinfra.api.command import QuoteString, StringCommand

ON_HOST = Path(__file__).parent / "on_host"
ALONE = ("python3", "-I", "-c")


@cache
def source(name: str) -> bytes:
    """A program's text."""
    return (ON_HOST / f"{name}.py").read_bytes()


def start(name: str) -> str:
    """What Python is given by `-c`: it takes the program, and leaves its orders, on standard input."""
    return f"import sys; exec(compile(sys.stdin.buffer.read({len(source(name))}), {name!r}, 'exec'))"


def packed(orders: object) -> bytes:
    """Orders as a program reads them, after its own text: base64 of zlib of JSON."""
    text = json.dumps(orders, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return base64.b64encode(zlib.compress(text, 1))


def program(name: str, orders: object) -> StringCommand:
    """The command that runs on_host/NAME.py as root with `orders`."""
    words = (*ALONE, QuoteString(start(name)), name)
    return StringCommand(*words, _stdin=(source(name) + packed(orders)).decode())
