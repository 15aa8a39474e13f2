"""pyinfra's settings for every run of this repository."""

import sys

from gevent.hub import Hub
from pyinfra import config
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

import roles.common.op_order  # orders operations without reading sources
import roles.common.transport  # noqa: F401  # sets options of connections
from inventories.command_line import check_files
from inventories.outcome import end_at_interrupt, tell_at_exit

check_files(sys.argv)
config.SUDO = True
config.CONNECT_TIMEOUT = 5
config.FAIL_PERCENT = 0
tell_at_exit(ctx_state.get())
end_at_interrupt(ctx_state.get())
# pyinfra prints these errors in one line: gevent need not print where in its greenlets they came up.
Hub.NOT_ERROR = (*Hub.NOT_ERROR, PyinfraError)
