"""Gives a run up whose vault is gone for good.

restic by itself tries each request again for a quarter of an hour, one after another where some depend on others, and
its lock's removal last of all: after a link was cut that is more than half an hour.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from backup.agent.attempt import Refused
from backup.restic_results import Progress

GIVE_UP_S = 600
"""Shorter breaks cost nothing: restic goes on where it was."""
Tell = Callable[[Progress], None]


@dataclass
class Watch:
    """Hears restic's progress, which comes twice a second whether or not it moves, and passes it on."""

    give_up_s: float
    answers: Callable[[], bool]
    """Whether the vault does."""
    tell: Tell
    moved: tuple[int, int] | None = None
    since: float = 0.0

    def __call__(self, progress: Progress) -> None:
        """Raises Refused when nothing has moved for so long and the vault does not answer."""
        now, at = time.monotonic(), (progress.files, progress.bytes)
        if at != self.moved:
            self.moved, self.since = at, now
        elif now - self.since >= self.give_up_s:
            if not self.answers():
                raise Refused(
                    f"given up: nothing was saved for {self.give_up_s / 60:.0f} min, and the vault does not answer. "
                    "See whether it and the link are up; the next run goes on with what has arrived"
                )
            self.since = now
        self.tell(progress)
