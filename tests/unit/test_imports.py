"""What imports what when it is loaded: one way through the layers, and looking at backups without cloud."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY

OWN = ("backup", "bundle", "cli", "cloud", "deploys", "doctor", "drift", "inventories", "lab", "roles", "status")


def modules(pattern: str) -> list[str]:
    found = [path.relative_to(REPOSITORY).with_suffix("") for path in REPOSITORY.glob(pattern)]
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in found)


def source(name: str) -> Path | None:
    """The file of a module of this project."""
    path = REPOSITORY.joinpath(*name.split("."))
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


@cache
def imported(name: str) -> frozenset[str]:
    """What a module imports as it is loaded; functions may import more when they are called."""
    path = source(name)
    assert path, name
    found = set()
    for node in _loaded(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return frozenset(one for one in found if one.split(".")[0] not in OWN or source(one))


def _loaded(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _loaded(child)


def ways(start: str) -> dict[str, tuple[str, ...]]:
    """All that is loaded with a module, each with the way to it."""
    found: dict[str, tuple[str, ...]] = {start: (start,)}
    todo = [start]
    for name in todo:
        for other in sorted(imported(name)):
            if other not in found:
                found[other] = (*found[name], other)
                todo += [other] if source(other) else []
    return found


def of(package: str, name: str) -> bool:
    return name == package or name.startswith(f"{package}.")


LOOKING = [
    *modules("backup/*.py"),
    *modules("backup/agent/*.py"),
    *modules("roles/*/recovery.py"),
    *modules("cli/backup/*.py"),
    *modules("cli/drill/*.py"),
]


@pytest.mark.parametrize("package", ["cloud", "lab"])
def test_looking_at_backups_and_drills_loads_nothing_that_makes_hosts(package: str) -> None:
    found = [" -> ".join(way) for start in LOOKING for name, way in ways(start).items() if of(package, name)]
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "packages"),
    [
        ("inventories/*.py", ("backup", "cloud", "roles", "lab", "cli", "doctor", "drift", "status")),
        ("backup/**/*.py", ("roles", "lab", "cli", "deploys", "doctor", "drift", "status")),
        ("cloud/*.py", ("backup", "roles", "lab", "cli", "deploys", "bundle", "doctor", "drift", "status")),
        ("bundle/*.py", ("cloud", "lab", "cli", "deploys", "drift", "status")),
        ("doctor/*.py", ("cloud", "lab", "cli", "deploys", "drift", "status")),
        ("status/*.py", ("cloud", "lab", "cli", "deploys", "bundle", "drift")),
        ("drift/*.py", ("lab", "cli", "doctor")),
        ("roles/**/*.py", ("lab", "cli", "deploys", "doctor", "drift", "status")),
    ],
)
def test_imports_go_one_way(pattern: str, packages: tuple[str, ...]) -> None:
    found = [
        f"{name} imports {other}"
        for name in modules(pattern)
        if "tree" not in name.split(".") and "on_host" not in name.split(".")
        for other in imported(name)
        if any(of(package, other) for package in packages)
    ]
    assert found == []


def test_of_the_roles_the_control_hosts_alone_reads_the_cloud() -> None:
    found = {name for name in modules("roles/*/*.py") for other in imported(name) if of("cloud", other)}
    assert found == {"roles.control.zones"}


def test_the_agent_imports_backup_alone() -> None:
    found = [(name, other) for name in modules("backup/agent/*.py") for other in imported(name)]
    assert [pair for pair in found if pair[1].split(".")[0] in {*OWN} - {"backup"}] == []
