#!/usr/bin/python3 -I
"""Stands in for sendmail where no program may become another user: hands the mail on standard input to a service that
queues it (mainstay-mail.socket). Exits 0 when it is queued."""

import socket
import sys

SOCKET = "/run/mainstay-mail"
PATIENCE_S = 60


def main() -> int:
    try:
        with socket.socket(socket.AF_UNIX) as way:
            way.settimeout(PATIENCE_S)
            way.connect(SOCKET)
            way.sendall(sys.stdin.buffer.read())
            way.shutdown(socket.SHUT_WR)
            answer = way.makefile("rb").read()
    except OSError as error:
        print(f"{SOCKET}: {error}", file=sys.stderr)
        return 1
    if answer.strip() != b"queued":
        print(f"{SOCKET}: the mail was not queued: see journalctl -u 'mainstay-mail@*'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
