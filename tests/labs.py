"""Labs of the tests' own. MAINSTAY_TEST_LAB names them, for several runs on one machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab import lifecycle
from lab.engine import LabConfig


def lab_name(part: str = "") -> str:
    """The name of a lab of this run."""
    return "-".join(filter(None, (os.environ.get("MAINSTAY_TEST_LAB", "test"), part)))


@contextmanager
def own_lab(part: str = "") -> Iterator[LabConfig]:
    """An empty lab for as long as it lasts; what an earlier run left of it goes first."""
    name = lab_name(part)
    lifecycle.down(name)
    try:
        yield lifecycle.up(name)
    finally:
        lifecycle.down(name)
