"""The mirrors of Gerrit's repositories: the base of every host, fetching and serving."""

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.gitmirror.deploy import gitmirror

base()
gitmirror()
agent()
