"""Programs that the control side needs on this machine, in Debian 13's version where its own is too old."""

import os
import shutil

from backup.restic import version_of
from lab.command import BASE, run
from lab.image import MIRROR, SUITE
from lab.services import LOCAL_CACHE_URL

TOOLS = BASE / "tools"
RESTIC_NEEDED = (0, 17)


def restic() -> str:
    """A restic that is new enough: $MAINSTAY_RESTIC, the machine's, or Debian 13's, fetched once.

    Raises EngineError.
    """
    for program in filter(None, (os.environ.get("MAINSTAY_RESTIC"), shutil.which("restic"))):
        if version_of(program) >= RESTIC_NEEDED:
            return program
    fetched = TOOLS / "restic"
    if not fetched.exists():
        root = TOOLS / "restic.root"
        shutil.rmtree(root, ignore_errors=True)
        TOOLS.mkdir(parents=True, exist_ok=True)
        extract = ("mmdebstrap", "--mode=root", "--variant=extract", "--include=restic")
        run(
            *extract,
            f'--aptopt=Acquire::http::Proxy "{LOCAL_CACHE_URL}"',
            SUITE,
            root,
            f"deb {MIRROR}/debian {SUITE} main",
        )
        (root / "usr/bin/restic").rename(fetched)
        shutil.rmtree(root)
    return str(fetched)
