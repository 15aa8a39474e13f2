"""What of this role is saved: nothing by itself. It is the copy; the second one is made by the control side."""

from roles.common import Recovery

RECOVERY = Recovery(consistency="none")
