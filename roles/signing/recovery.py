"""What of this role is saved: nothing by the vault. `mainstay hsm save` writes it to a medium, and a drill proves that.

The agent that saves to the vault runs as root, and a destination for root would let every program of root's out of the
one host that is to reach nothing; and an offline host has no vault. What leaves by an open egress is the log alone.
"""

from backup.recovery import Recovery

RECOVERY = Recovery(consistency="none")
