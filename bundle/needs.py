"""Which Debian packages a role's deploy asks for, and which hosts it is of."""

import ast
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from inventories.errors import InputError
from inventories.inventory import CLONE, LoadedSite

TO_RUN = ("python3", "python3-venv")
"""What `apply` itself needs."""


def hosts(site: LoadedSite, role: str) -> list[str]:
    """Those that a bundle can be applied on. Raises InputError."""
    if not site.local:
        hint = 'a bundle is for hosts that no network leads to: connection = "local" under [site]'
        raise InputError(site.path, "site.connection", "its hosts are reached by ssh", hint)
    found = sorted(site.fleet.with_role(role))
    if not found:
        have = ", ".join(sorted({host.role for host in site.fleet.hosts.values()}))
        raise InputError(site.path, "hosts", f"no host has the role {role!r}", f"roles of this inventory: {have}")
    return found


def packages(site: LoadedSite, role: str) -> list[str]:
    """Names, sorted: of every role that the deploy takes, what it and the parts that it is made of name as PACKAGES."""
    found = {*TO_RUN, *site.fleet.bundle.packages}
    for module in _taken(role):
        found |= {*_named(module)}
        for part in vars(module).values():
            if isinstance(part, ModuleType) and part.__name__.startswith("roles."):
                found |= {*_named(part)}
    return sorted(found)


def _named(module: ModuleType) -> Iterator[str]:
    yield from getattr(module, "PACKAGES", ())


def _taken(role: str) -> list[ModuleType]:
    """The modules that deploys/ROLE.py imports; it is read, as pyinfra alone can run it."""
    tree = ast.parse((CLONE / f"deploys/{role}.py").read_text())
    names = [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    return [import_module(name) for name in names if name.startswith("roles.")]
