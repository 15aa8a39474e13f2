"""The control host: the base of every host, what watches over the backups, and its own backup."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.base.deploying import deploying
from roles.control.deploy import control

with deploying():
    base()
    control()
    agent()
