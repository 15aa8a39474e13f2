"""Runs a program of on_host/ on a host. Program and orders go over standard input: no process list or log has them."""

import base64
import json
import zlib
from functools import cache
from pathlib import Path

from pyinfra.api.command import QuoteString, StringCommand

ON_HOST = Path(__file__).parent / "on_host"


@cache
def _source(name: str) -> bytes:
    return (ON_HOST / f"{name}.py").read_bytes()


def program(name: str, orders: object) -> StringCommand:
    """The command that runs on_host/NAME.py as root with `orders`, which it gets as base64 of zlib of JSON."""
    source = _source(name)
    text = json.dumps(orders, ensure_ascii=False).encode("utf-8", "surrogatepass")
    packed = base64.b64encode(zlib.compress(text, 1)).decode()
    start = f"import sys; exec(compile(sys.stdin.buffer.read({len(source)}), {name!r}, 'exec'))"
    return StringCommand("python3", "-I", "-c", QuoteString(start), name, _stdin=source.decode() + packed)
