"""What every host has, on every host: after a change of admins.toml, for example."""

from roles.base.deploy import base
from roles.base.deploying import deploying

with deploying():
    base()
