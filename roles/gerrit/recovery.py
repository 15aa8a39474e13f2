"""What of this role is saved: all that Gerrit cannot make anew, at one instant, so that refs and objects agree.

Left out: bin/ and the war, which a deploy brings; index/ and cache/, which are built anew; logs/ and tmp/.
"""

from backup.recovery import Recovery
from roles.gerrit.drill import DRILL

RECOVERY = Recovery(
    root="/srv/gerrit",
    owner="gerrit",
    paths=tuple(f"site/{one}" for one in ("git", "etc", "data", "db", "plugins", "lib", "static")),
    consistency="btrfs",
    repositories=("site/git",),
    every="hourly",
    rpo_hours=2,
    halts=("gerrit.service",),
    remade=("site/index", "site/cache"),
    drill=DRILL,
)
