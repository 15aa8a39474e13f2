"""What of this role is saved: nothing. All of it is had again from the source, which has backups of its own; a host that
is made anew fills itself."""

from backup.recovery import Recovery

RECOVERY = Recovery(consistency="none")
