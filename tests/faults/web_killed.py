"""`mainstay web` that dies (-9) at a named point: `python -m tests.faults.web_killed POINT ARGUMENTS...`.

Points are `before` and `after` what a server is asked for, and `upload`: `after switch`.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from cli.main import main
from roles.common.publishing.servers import Session

POINT = sys.argv.pop(1)


def reach(point: str) -> None:
    if point == POINT:
        os.kill(os.getpid(), signal.SIGKILL)


def watched(real: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
    def passing(*arguments: Any, **more: Any) -> Any:
        step = name(*arguments)
        reach(f"before {step}")
        done = real(*arguments, **more)
        reach(f"after {step}")
        return done

    return passing


if __name__ == "__main__":
    setattr(Session, "ask", watched(Session.ask, lambda _, do, *__: do))  # noqa: B010
    setattr(Session, "upload", watched(Session.upload, lambda *_: "upload"))  # noqa: B010
    main()
