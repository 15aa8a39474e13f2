"""What typed files have in common: the base of their models, names and addresses, and their errors in words."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from inventories.errors import InputError

NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
PORT = re.compile(r"[1-9]\d{0,4}")
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
DNS_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and dashes, a letter first and no dash last")
    return value


def _dns_name(value: str) -> str:
    if not DNS_NAME.fullmatch(value):
        raise ValueError("must be a full DNS name in lower case, like release.example.org")
    return value


def _port_range(value: str) -> str:
    if not value:
        return value
    first, _, last = value.partition(":")
    if not (PORT.fullmatch(first) and PORT.fullmatch(last or first) and 0 < int(first) <= int(last or first) < 2**16):
        raise ValueError(f"must be a port from 1 to 65535, or two of them as first:last, not {value!r}")
    return first if last in ("", first) else value


def _api_url(value: str) -> str:
    try:
        url = urlsplit(value)
        right = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        right = False
    if not right or re.search(r"[^!-~]", value):
        raise ValueError("must be the address of an API, like https://api.vultr.com/v2")
    if url.scheme == "http" and url.hostname not in THIS_MACHINE:
        raise ValueError("must begin with https, or the key could be read on its way")
    return value


Name = Annotated[str, AfterValidator(_name)]
DnsName = Annotated[str, AfterValidator(_dns_name)]
PortRange = Annotated[str, AfterValidator(_port_range)]
ApiUrl = Annotated[str, AfterValidator(_api_url)]


class Typed(BaseModel):
    """Base of every typed file: unknown keys are errors, values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def input_error(path: Path, error: ValidationError, prefix: str = "") -> InputError:
    """The first of what a model found, as the field of a file. prefix: of the field."""
    first, *others = error.errors()
    field = ".".join([*filter(None, [prefix]), *(str(part) for part in first["loc"] if part != "[key]")])
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        problem = "no such key"
    if not field and ": " in problem:
        field, problem = problem.split(": ", 1)
    if first["type"] not in ("missing", "extra_forbidden", "value_error") and isinstance(
        first["input"], str | int | float
    ):
        problem += f", found {first['input']!r}"
    return InputError(path, field, problem, f"and {len(others)} more" if others else "")
