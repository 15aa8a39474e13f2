"""`mainstay release` that is killed (-9) at a step: `python -m tests.faults.publisher_killed WHEN STEP release ...`.

WHEN is before or after; STEP what is asked of a server (`on_server.py`), `upload`, `checksums` or `metadata`.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.main import main
from roles.common.publishing.servers import Session
from roles.release.tools import publish
from roles.release.tools.repository import Repository


def passing_by(reach: Callable[[str, str], None]) -> None:
    """Each step of a publisher of this process passes by, before and after it took place."""

    def steps(owner: Any, name: str, called: Callable[..., str]) -> None:
        real = getattr(owner, name)

        def passing(*arguments: Any, **more: Any) -> Any:
            step = called(*arguments)
            reach("before", step)
            done = real(*arguments, **more)
            reach("after", step)
            return done

        setattr(owner, name, passing)

    steps(Session, "ask", lambda _, do, *__: do)
    steps(Session, "upload", lambda *_: "upload")
    steps(publish, "_push_sums", lambda *_: "checksums")
    steps(Repository, "push", lambda one, *_: Path(one.url).stem)


if __name__ == "__main__":
    point = (*sys.argv[1:3],)
    sys.argv[1:3] = []
    passing_by(lambda *at: os.kill(os.getpid(), signal.SIGKILL) if at == point else None)
    main()
