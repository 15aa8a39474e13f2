"""The mirrors of Gerrit's repositories: the base of every host, fetching and serving."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.base.deploying import deploying
from roles.gitmirror.deploy import gitmirror

with deploying():
    base()
    gitmirror()
    agent()
