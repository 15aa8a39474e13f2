"""pyinfra's settings for every run of this repository."""

import roles.common.transport  # noqa: F401  # switches Nagle off
from pyinfra import config, state

from inventories.outcome import Outcome

config.SUDO = True
config.CONNECT_TIMEOUT = 5
config.FAIL_PERCENT = 0
state.add_callback_handler(Outcome())
