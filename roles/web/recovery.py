"""What of this role is saved: the website's files."""

from backup.recovery import Recovery
from roles.web.drill import DRILL

RECOVERY = Recovery(
    root="/srv/web",
    owner="web",
    paths=("public",),
    consistency="files",
    every="hourly",
    rpo_hours=24,
    drill=DRILL,
)
