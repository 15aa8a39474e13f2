"""The signing host: the base of every host, and what signs releases."""

from roles.base.deploy import base
from roles.base.deploying import deploying
from roles.signing.deploy import signing

with deploying():
    base()
    signing()
