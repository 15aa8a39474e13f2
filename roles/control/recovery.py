"""What of this role is saved: the ledgers, which say what must exist, what drills proved,
the mirrors and the zones."""

from backup.recovery import Recovery
from roles.control.drill import DRILL

RECOVERY = Recovery(
    root="/srv/control",
    owner="control",
    paths=("drills", "ledgers", "mirrors", "zones"),
    exclude=("*.lock",),
    consistency="refs",
    every="hourly",
    rpo_hours=6,
    drill=DRILL,
)
