"""The web servers: the base of every host, and the website."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.web.deploy import web

base()
web()
agent()
