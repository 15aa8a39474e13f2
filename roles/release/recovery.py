"""What of this role is saved: releases, which never change once they are published, their metadata, and the manifests
of what was published.

What is there already is not read again, so that a run costs seconds; a new release is saved within the hour. Metadata
is exchanged as a whole: a backup during which that happens is made once more, so one that counts holds one commit.
"""

from backup.recovery import Recovery
from roles.release.archive import METADATA, PUBLIC, PUBLICATIONS
from roles.release.drill import DRILL

RECOVERY = Recovery(
    root="/srv/release",
    owner="release",
    paths=(PUBLIC, METADATA, PUBLICATIONS),
    consistency="files",
    every="half-hourly",
    rpo_hours=2,
    drill=DRILL,
)
