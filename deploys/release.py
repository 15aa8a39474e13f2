"""The release servers: the base of every host, and the archive."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.release.deploy import release

base()
release()
agent()
