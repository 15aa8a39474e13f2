"""`mainstay release` that waits at a step: `python -m tests.faults.publisher_paused WHEN STEP FIFO release ...`.

WHEN and STEP as in publisher_killed.py. It goes on, once, when whoever has opened FIFO for writing closes it.
"""

import sys
from pathlib import Path
from threading import Lock

from cli.main import main
from tests.faults.publisher_killed import passing_by

if __name__ == "__main__":
    point, fifo = (*sys.argv[1:3],), Path(sys.argv[3])
    sys.argv[1:4] = []
    first = Lock()

    def reach(when: str, step: str) -> None:
        if (when, step) == point and first.acquire(blocking=False):
            fifo.read_bytes()

    passing_by(reach)
    main()
