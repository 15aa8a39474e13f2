"""pyinfra's settings for every run of this repository."""

from pyinfra import config, state

import roles.common.transport  # noqa: F401  # switches Nagle off
from inventories.outcome import Outcome

config.SUDO = True
config.CONNECT_TIMEOUT = 5
config.FAIL_PERCENT = 0
state.add_callback_handler(Outcome())
