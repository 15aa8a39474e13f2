"""What of this role is saved: nothing. Measurements of the past are of no use to a site that has to come back."""

from backup.recovery import Recovery

RECOVERY = Recovery(consistency="none")
