"""The release servers: the base of every host, and the archive."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.base.deploying import deploying
from roles.release.deploy import release

with deploying():
    base()
    release()
    agent()
