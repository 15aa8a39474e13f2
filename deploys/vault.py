"""The vault: the base of every host, and the backup server."""

from roles.base.deploy import base
from roles.base.deploying import deploying
from roles.vault.deploy import vault

with deploying():
    base()
    vault()
