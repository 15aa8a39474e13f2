"""pyinfra's settings for every run of this repository."""

from pyinfra import config
from pyinfra.context import ctx_state

import roles.common.transport  # noqa: F401  # switches Nagle off
from inventories.outcome import tell_at_exit

config.SUDO = True
config.CONNECT_TIMEOUT = 5
config.FAIL_PERCENT = 0
tell_at_exit(ctx_state.get())
