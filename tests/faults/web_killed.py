"""`mainstay web` that a signal meets at a named point: `python -m tests.faults.web_killed KILL|STOP POINT WORDS...`.

Points are `before` and `after` what a server is asked for, and `upload`: `after switch`, or of one server alone:
`after switch web-2`. One that stopped itself goes on when it is told to, and does not stop again.
"""

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from cli.main import main
from roles.common.publishing.servers import Session

WHAT = signal.Signals[f"SIG{sys.argv.pop(1)}"]
POINTS = [sys.argv.pop(1)]


def reach(point: str, to: Session) -> None:
    if {point, f"{point} {to.place.name}"} & {*POINTS}:
        POINTS.clear()
        # To this thread: one that goes to the process may meet another first, and this one goes on.
        signal.pthread_kill(threading.get_ident(), WHAT)


def watched(real: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
    def passing(*arguments: Any, **more: Any) -> Any:
        step = name(*arguments)
        reach(f"before {step}", arguments[0])
        done = real(*arguments, **more)
        reach(f"after {step}", arguments[0])
        return done

    return passing


if __name__ == "__main__":
    setattr(Session, "ask", watched(Session.ask, lambda _, do, *__: do))  # noqa: B010
    setattr(Session, "upload", watched(Session.upload, lambda *_: "upload"))  # noqa: B010
    main()
