"""The four operations a role is made of; see README.md. One remote command each when nothing changes.

Each is a generator that pyinfra evaluates when it executes (and before, to tell what would change): it takes one look
at the host, a pure module compares, and one program on the host makes all differences good.
"""

import base64
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host, state

from roles.common import account_plan, facts, package_plan, service_plan, tree_plan, tree_source
from roles.common.account_plan import Account
from roles.common.program import program
from roles.common.service_plan import Unit

Commands = Generator[PyinfraCommand, None, None]


files_to_come: defaultdict[str, set[str]] = defaultdict(set)
"""By host, what the trees of this run will change, while pyinfra plans: services follow from it."""


class Refuse(PyinfraCommand):
    """Fails the operation on this host, saying why; no remote command."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__()
        self.problems = tuple(problems)

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> bool:
        for problem in self.problems:
            host.log_styled(problem, fg="red", log_func=logger.error)
        return False


def _tell(changes: Iterable[tuple[str, str]]) -> None:
    for what, why in changes:
        host.log(f"  {what}: {why}")


def packages(name: str, present: Mapping[str, str | None], **arguments: Any) -> OperationMeta:
    """Debian packages installed, each at its minimum version (None: any). Never removes or downgrades.

    Services of packages that are newly installed are not started: their configuration comes first, then `services`.
    `arguments` are pyinfra's global arguments (`_if`, `_serial`...), here and below.
    """
    if wrong := [package for package in present if not package_plan.NAME.fullmatch(package)]:
        raise ValueError(f"{name}: {wrong[0]!r} is not a package's name")
    return _packages(name=name, present=dict(present), **arguments)


@operation()
def _packages(present: Mapping[str, str | None]) -> Commands:
    look = host.get_fact(facts.PackageLook, names=sorted(present))
    if look is None:
        return
    plan = package_plan.plan(present, look)
    _tell((need.name, need.why) for need in plan.needed)
    if plan.interrupted:
        _tell([("dpkg", "an earlier run was cut off")])
    if plan.needed or plan.interrupted:
        yield program("packages", package_plan.orders(plan))


def tree(
    name: str,
    source: Path | None = None,
    context: Mapping[str, object] = {},
    *,
    generated: Mapping[str, str | bytes] = {},
    directories: Collection[str] = (),
    linkable: Collection[str] = (),
    absent: Collection[str] = (),
    modes: Mapping[str, str] = {},
    owners: Mapping[str, str] = {},
    secret: Collection[str] = (),
    validate: Mapping[str, str] = {},
    before: Sequence[PyinfraCommand] = (),
    **arguments: Any,
) -> OperationMeta:
    """Files on the host as they are under `source`, at the same path; `NAME.j2` is rendered with `context` to `NAME`.

    All paths are absolute paths on the host; patterns are fnmatch's, whose `*` also matches `/`; of several that match,
    the last one wins.

    - generated: files with the content given here.
    - directories: must exist. Mode and owner of these and of those on the way to a file are kept when a pattern
      matches, else set only when they are made (0755 root:root).
    - linkable: the same, and a link to a directory does as well.
    - absent: files that must not exist.
    - modes: pattern -> "0640". Default 0644; 0755 for *.sh and in /usr/local/bin and /usr/local/sbin.
    - owners: pattern -> "user:group". Default root:root.
    - secret: paths or patterns never shown (no diff, no log, no process list). A template that prints a pydantic
      SecretStr is secret by itself.
    - validate: pattern -> command. Run once, when a matching path changes, in a private view of the host where the
      changes are made already; if it fails nothing is replaced and its message is the error.
    - before: commands that are run first when something is to change, and not when nothing is; here and below.

    An undefined variable raises InputError, naming file and variable, before anything is changed on any host.
    """
    wanted = tree_source.wanted(
        source,
        context,
        generated=generated,
        directories=directories,
        linkable=linkable,
        absent=absent,
        modes=modes,
        owners=owners,
        secret=secret,
        validate=validate,
    )
    return _tree(name=name, wanted=wanted, before=before, **arguments)


@operation()
def _tree(wanted: tree_plan.Wanted, before: Sequence[PyinfraCommand]) -> Commands:
    look = host.get_fact(facts.TreeLook, **facts.lines(wanted.paths()))
    if look is None:
        return
    plan = tree_plan.plan(wanted, tree_plan.parse(look))
    if plan.conflicts:
        if not state.is_executing:
            _tell(("conflict", conflict) for conflict in plan.conflicts)
        yield Refuse(plan.conflicts)
        return
    _tell((change.path, change.why) for change in plan.changes)
    if not state.is_executing:
        files_to_come[host.name].update(change.path for change in plan.changes)
    if state.config.DIFF or state.print_noop_info:
        _show_differences(plan)
    if plan.changes:
        yield from before
        yield program("tree", tree_plan.orders(plan))


def _show_differences(plan: tree_plan.Plan) -> None:
    """Unified diffs of what is not secret; old content is not even read of what is."""
    fresh = [(change, change.wanted) for change in plan.changes if isinstance(change.wanted, tree_plan.File)]
    shown = [(change.path, file) for change, file in fresh if change.content and not file.secret]
    if not shown:
        return
    contents = host.get_fact(facts.TreeContents, **facts.lines([path for path, _ in shown])) or []
    for (path, file), packed in zip(shown, contents, strict=False):
        for line in difference(path, base64.b64decode(packed), file.content):
            logger.info("    %s", line)


def difference(path: str, old: bytes, new: bytes) -> list[str]:
    """A unified diff, or a word on why there is none."""
    try:
        before, after = old.decode().splitlines(), new.decode().splitlines()
    except UnicodeDecodeError:
        return [f"{path}: not text, {len(old)} -> {len(new)} bytes"]
    return list(unified_diff(before, after, f"{path} (on the host)", f"{path} (wanted)", lineterm="", n=2))


def services(
    name: str, units: Sequence[Unit], *, before: Sequence[PyinfraCommand] = (), **arguments: Any
) -> OperationMeta:
    """systemd units enabled and running with the configuration now on disk (not just what this run wrote).

    What each was last started with is kept in /var/lib/mainstay/units/UNIT; one without such a record is restarted.
    """
    for unit in units:
        if not service_plan.NAME.fullmatch(unit.name):
            raise ValueError(f"{name}: {unit.name!r} is not a unit's full name, like nginx.service")
        if relative := [pattern for pattern in unit.files if not pattern.startswith("/")]:
            raise ValueError(f"{name}: {unit.name}: {relative[0]!r} is not an absolute path")
    return _services(name=name, units=tuple(units), before=before, **arguments)


@operation()
def _services(units: Sequence[Unit], before: Sequence[PyinfraCommand]) -> Commands:
    names = [unit.name for unit in units]
    lines = host.get_fact(
        facts.ServiceLook, units=names, patterns=service_plan.patterns(units), probes=service_plan.probes(units)
    )
    if lines is None:
        return
    looks, files = service_plan.parse(units, lines)
    if not state.is_executing:
        files |= dict.fromkeys(files_to_come[host.name], "to come")
    plan = service_plan.plan(units, looks, files)
    _tell((action.unit, f"{' and '.join(action.verbs)}, because {action.why}") for action in plan.actions)
    if plan.daemon_reload and not plan.actions:
        _tell([("systemd", "is to read its units anew")])
    if plan.actions or plan.daemon_reload:
        yield from before
        yield program("services", service_plan.orders(plan))


def accounts(
    name: str,
    users: Sequence[Account],
    absent: Collection[str] = (),
    *,
    before: Sequence[PyinfraCommand] = (),
    **arguments: Any,
) -> OperationMeta:
    """Users with their groups, shells and SSH keys. `absent` ones are removed, their processes ended, homes kept."""
    return _accounts(name=name, users=tuple(users), absent=tuple(absent), before=before, **arguments)


@operation()
def _accounts(users: Sequence[Account], absent: Sequence[str], before: Sequence[PyinfraCommand]) -> Commands:
    homes = [user.home_directory for user in users if user.ssh_keys is not None]
    look = host.get_fact(facts.AccountLook, homes=homes)
    if look is None:
        return
    changes = account_plan.plan(users, absent, account_plan.parse(look))
    _tell((change.name, change.why) for change in changes)
    if changes:
        yield from before
        yield program("accounts", [change.order for change in changes])
