"""What of this role is saved: the releases of the website, and which of them is served."""

from backup.recovery import Recovery
from roles.web.drill import DRILL

RECOVERY = Recovery(
    root="/srv/web",
    owner="web",
    paths=("public", "releases"),
    consistency="files",
    every="hourly",
    rpo_hours=24,
    drill=DRILL,
)
