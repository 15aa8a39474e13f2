"""The whole site: the base on every host, then the role each host has, and its backups."""

from importlib import import_module

from pyinfra.context import host

from roles.agent.deploy import agent
from roles.base.deploy import base
from roles.base.deploying import deploying

with deploying():
    base()
    role = host.data.declared.role
    if role != "base":
        getattr(import_module(f"roles.{role}.deploy"), role)()
    agent()
