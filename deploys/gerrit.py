"""Gerrit's host: the base of every host, and the code review."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.base.deploying import deploying
from roles.gerrit.deploy import gerrit

with deploying():
    base()
    gerrit()
    agent()
