"""`bin/hsm-run`, which is `mainstay hsm run` for scripts, to be called for each package that is signed.

It loads neither typer nor pydantic, whose import is most of what such a call costs.
"""

import argparse
import os
import sys
from pathlib import Path

from inventories.errors import InputError
from roles.signing.tools import places
from roles.signing.tools.custody import running
from roles.signing.tools.errors import HsmError, Unreachable
from roles.signing.tools.passwords import Passwords

FAILED, BAD_USAGE, UNREACHABLE = 1, 2, 3
"""Exit codes, as of `mainstay`."""


def main() -> int:
    """Exit code, as `mainstay hsm run --help` tells."""
    parser = argparse.ArgumentParser(prog="hsm-run", description="`mainstay hsm run --help` says more.")
    named = os.environ.get("MAINSTAY_HSM")
    parser.add_argument("--file", type=Path, required=not named, default=named, metavar="FILE", help="hsm.toml")
    parser.add_argument("--device", default="", metavar="NAME")
    parser.add_argument("--slots", type=int, default=running.ROOM)
    parser.add_argument("--password-file", action="append", default=[], metavar="[KEY=]FILE")
    parser.add_argument("--password-fd", action="append", default=[], metavar="[KEY=]N")
    parser.add_argument("command", nargs="+", metavar="-- COMMAND")
    given = parser.parse_args()
    try:
        custody = places.read(given.file)
        place = custody.chosen([given.device] if given.device else ())[0]
        passwords = Passwords(given.password_file, given.password_fd, custody.reader)
        code, incidents = running.in_custody(custody, place, given.command, given.slots, passwords)
    except running.NotDrained as error:
        return _end(error, error.code or FAILED)
    except Unreachable as error:
        return _end(error, UNREACHABLE)
    except HsmError as error:
        return _end(error, FAILED)
    except (InputError, FileNotFoundError) as error:
        return _end(error, BAD_USAGE)
    for text in incidents:
        _end(text, code)
    return code


def _end(message: object, code: int) -> int:
    print(f"hsm-run: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
