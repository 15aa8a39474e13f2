"""The site's deploy with other operations in the place of the primitives: the same work, done by somebody else.

`floor` sends one empty remote command for each primitive; `stock` uses pyinfra's own operations;
`record` changes nothing and writes down what each host is to have, for bench/ansible.py.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pyinfra import local
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.operations import apt, files, server, systemd

from roles.common import account_plan, operations, tree_plan
from roles.common.account_plan import Account
from roles.common.service_plan import Unit

SITE = "deploys/site.py"


class Empty(FactBase[str]):
    """What asking a host for nothing costs."""

    def command(self) -> str:
        return "true"


@operation()
def ask_for_nothing() -> Generator[str, None, None]:
    host.get_fact(Empty)
    yield from ()


def floor() -> None:
    """One empty remote command for each primitive."""

    def stand_in(name: str, **_: Any) -> Any:
        return ask_for_nothing(name=name)

    for primitive in ("_packages", "_tree", "_services", "_accounts"):
        setattr(operations, primitive, stand_in)
    local.include(SITE)


def stock() -> None:
    """pyinfra's own operations."""

    def packages(name: str, present: Mapping[str, str | None], **_: Any) -> Any:
        return apt.packages(name=name, packages=list(present))

    def accounts(name: str, users: Sequence[Account], absent: Sequence[str], **_: Any) -> Any:
        done = None
        for group in sorted({group for user in users for group in user.groups}):
            done = server.group(name=f"{name}: group {group}", group=group)
        for user in users:
            done = server.user(
                name=f"{name}: {user.name}",
                user=user.name,
                shell=user.login_shell,
                home=user.home_directory,
                groups=list(user.groups) or None,
                public_keys=list(user.ssh_keys) if user.ssh_keys else None,
                system=user.system,
                ensure_home=False,
            )
        for user_name in absent:
            done = server.user(name=f"{name}: no {user_name}", user=user_name, present=False)
        return done

    def tree(name: str, wanted: tree_plan.Wanted, **_: Any) -> Any:
        done = None
        for directory in wanted.directories:
            if directory.declared:
                user, group = (directory.owner or ":").split(":")
                mode = f"{directory.mode:o}" if directory.mode else None
                done = files.directory(
                    name=f"{name}: {directory.path}",
                    path=directory.path,
                    user=user or None,
                    group=group or None,
                    mode=mode,
                )
        for file in wanted.files:
            user, group = file.owner.split(":")
            content = BytesIO(file.content)
            done = files.put(
                name=f"{name}: {file.path}", src=content, dest=file.path, user=user, group=group, mode=f"{file.mode:o}"
            )
        for path in wanted.absent:
            done = files.file(name=f"{name}: no {path}", path=path, present=False)
        return done

    def services(name: str, units: Sequence[Unit], **_: Any) -> Any:
        done = None
        for unit in units:
            done = systemd.service(
                name=f"{name}: {unit.name}", service=unit.name, running=unit.running, enabled=unit.enabled or None
            )
        return done

    for primitive in (packages, accounts, tree, services):
        setattr(operations, f"_{primitive.__name__}", primitive)
    local.include(SITE)


def record(folder: Path) -> None:
    """Writes HOST.json and the files below HOST/."""
    told: list[dict[str, Any]] = []

    def packages(name: str, present: Mapping[str, str | None], **_: Any) -> Any:
        told.append({"packages": sorted(present)})
        return ask_for_nothing(name=name)

    def accounts(name: str, users: Sequence[Account], absent: Sequence[str], **_: Any) -> Any:
        for user in users:
            keys = {"path": account_plan.key_file(user), "lines": user.ssh_keys} if user.ssh_keys else None
            described = {"shell": user.login_shell, "home": user.home_directory, "groups": user.groups, "keys": keys}
            told.append({"user": user.name, "system": user.system} | described)
        told.extend({"no_user": user_name} for user_name in absent)
        return ask_for_nothing(name=name)

    def tree(name: str, wanted: tree_plan.Wanted, **_: Any) -> Any:
        for directory in wanted.directories:
            if directory.declared:
                mode = f"{directory.mode:04o}" if directory.mode else None
                told.append({"directory": directory.path, "owner": directory.owner, "mode": mode})
        for file in wanted.files:
            copy = folder / host.name / file.path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.content)
            told.append({"file": file.path, "owner": file.owner, "mode": f"{file.mode:04o}"})
        told.extend({"no_file": path} for path in wanted.absent)
        return ask_for_nothing(name=name)

    def services(name: str, units: Sequence[Unit], **_: Any) -> Any:
        told.extend({"unit": unit.name, "running": unit.running, "enabled": unit.enabled or None} for unit in units)
        return ask_for_nothing(name=name)

    for primitive in (packages, accounts, tree, services):
        setattr(operations, f"_{primitive.__name__}", primitive)
    local.include(SITE)
    (folder / f"{host.name}.json").write_text(json.dumps(told))
