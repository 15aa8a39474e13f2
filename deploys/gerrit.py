"""Gerrit's host: the base of every host, and the code review."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.gerrit.deploy import gerrit

base()
gerrit()
agent()
