"""Gives a run or a restore up whose vault is gone for good.

restic by itself tries each request again for a quarter of an hour, one after another where some depend on others, and
its lock's removal last of all: after a link was cut that is more than half an hour.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from backup.agent.attempt import Refused
from backup.restic_results import Progress

GIVE_UP_S = 600
"""Shorter breaks cost nothing: restic goes on where it was."""
RESTORE_GIVE_UP_S = 60
"""Somebody waits for a restore, and can have it go on."""
NEXT_RUN = "the next run goes on with what has arrived"
Tell = Callable[[Progress], None]


@dataclass
class Watch:
    """Hears restic's progress, which comes twice a second whether or not it moves, and passes it on."""

    give_up_s: float
    answers: Callable[[], bool]
    """Whether the vault does."""
    tell: Tell | None
    server: str = "the vault"
    done: str = "saved"
    then: str = NEXT_RUN
    """How it goes on once the vault is there again."""
    moved: tuple[int, int] | None = None
    since: float = field(default_factory=time.monotonic)

    def __call__(self, progress: Progress) -> None:
        """Raises Refused when nothing has moved for so long and the vault does not answer."""
        at = (progress.files, progress.bytes)
        if at != self.moved:
            self.moved, self.since = at, time.monotonic()
        else:
            self.look()
        if self.tell:
            self.tell(progress)

    def look(self) -> None:
        """The same when restic says nothing at all."""
        if time.monotonic() - self.since < self.give_up_s:
            return
        if not self.answers():
            raise Refused(
                f"given up: nothing was {self.done} for {_said(self.give_up_s)}, and {self.server} does not answer. "
                f"See whether it and the link are up; {self.then}"
            )
        self.since = time.monotonic()


def _said(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
