"""The monitor host: the base of every host, and what watches all of them."""

from roles.base.deploy import base
from roles.monitor.deploy import monitor

base()
monitor()
