"""What of this role is saved: nothing by itself. It is the copy; the second one is made by the control side."""

from backup.recovery import Recovery

RECOVERY = Recovery(consistency="none")
