"""A base has no data of its own: a lost host is made again from this repository."""

from backup.recovery import Recovery

RECOVERY = Recovery(consistency="none")
