"""The web servers: the base of every host, and the website."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.base.deploying import deploying
from roles.web.deploy import web

with deploying():
    base()
    web()
    agent()
