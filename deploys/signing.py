"""The signing host: the base of every host, and what signs releases."""

from roles.base.deploy import base
from roles.signing.deploy import signing

base()
signing()
