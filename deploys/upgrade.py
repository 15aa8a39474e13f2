"""Debian's packages of all hosts brought up to date, one host after the other, until one is not well afterwards.

    pyinfra inventories/prod.py deploys/upgrade.py --serial [--limit web-1] [--data reboot=yes]

After its packages a host gets its own deploy, by which each service runs what is on disk and is probed.
"""

import sys
from importlib import import_module

from pyinfra.context import host

from roles.agent.deploy import agent
from roles.base import upgrading
from roles.base.deploy import base
from roles.base.deploying import deploying

reboot = upgrading.check(sys.argv)
with deploying():
    listening = upgrading.listening()
    upgrading.well(name="well before", wanted=listening, patience_s=0)
    upgrading.upgraded(name="upgrade")
    upgrading.rebooted(name="reboot", asked=reboot)
    base()
    role = host.data.declared.role
    if role != "base":
        getattr(import_module(f"roles.{role}.deploy"), role)()
    agent()
    upgrading.well(name="well after", wanted=listening)
