"""What can be set for the monitor host, in `[settings.monitor]` or its own `settings.monitor`."""

from pydantic import Field

from inventories.typed import Typed
from roles.common import Listen, Opening

LOOPBACK = "127.0.0.1"
PROMETHEUS, ALERTMANAGER, BLACKBOX, TELL = 9090, 9093, 9115, 9087
"""Ports, on loopback alone: `mainstay ssh monitor-1 -L 9090:127.0.0.1:9090`."""
JOURNALS = 19532
"""Where hosts send their journals; systemd's own port for that."""
OPENINGS: tuple[Opening, ...] = ()
"""It asks others; the journals that they send are opened for each of them (roles/base/shipping.py)."""
LISTENS = (
    Listen(protocol="tcp", port=JOURNALS),
    *(Listen(protocol="tcp", port=port, address=LOOPBACK) for port in (PROMETHEUS, ALERTMANAGER, BLACKBOX, TELL)),
)


class Settings(Typed):
    """The monitor host."""

    interval_seconds: int = Field(default=30, ge=5, le=60)
    """How often each host and each server is asked, and the rules are judged."""
    patience_minutes: int = Field(default=5, ge=0, le=60)
    """How long a host, a server or a unit has to be wrong before people are told: a reboot is shorter."""
    repeat_hours: int = Field(default=24, ge=1, le=168)
    """What is still wrong is told again after this."""
    certificate_days: int = Field(default=7, ge=1, le=60)
    """A certificate with less to live than this is told. For those that live six days: 1."""
    keep_days: int = Field(default=90, ge=1, le=3650)
    """How long measurements are kept, while they fit."""
    keep_mb: int = Field(default=2000, ge=200)
    """How much disk they may take; the oldest go first."""
    journal_days: int = Field(default=30, ge=1, le=3650)
    """How long hosts' journals are kept here."""
    journal_mb: int = Field(default=500, ge=50)
    """How much disk each host's may take; its own oldest go first."""
