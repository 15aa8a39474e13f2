"""What of this role is saved: nothing by its vault. Keys lie in the HSMs, and their backups are the HSMs' own."""

from backup.recovery import Recovery

RECOVERY = Recovery(consistency="none")
