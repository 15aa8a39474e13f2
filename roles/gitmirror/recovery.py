"""What of this role is saved: nothing. The source has all of it, and backups of its own; a host that is made anew fills
itself."""

from backup.recovery import Recovery

RECOVERY = Recovery(consistency="none")
