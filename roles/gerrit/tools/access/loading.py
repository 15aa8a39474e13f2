"""Reads gerrit.toml with people.toml and admins.toml. Touches no host."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from inventories.admins import Admins
from inventories.errors import InputError
from inventories.typed import Typed, input_error
from roles.gerrit.tools.access import checking, words
from roles.gerrit.tools.access.declaration import Bot, File, Group, People, Person, Project
from roles.gerrit.tools.access.declared import FILE, PEOPLE, Declared

ADMINS = "@admins"
M = TypeVar("M", bound=Typed)


def load(files: Path, admins: Admins, service: str) -> Declared:
    """files: the site's folder. Raises InputError naming file, field and what to do."""
    path = files / FILE
    if not path.exists():
        raise InputError(path, "", "does not exist", "it says what Gerrit is to hold: see roles/gerrit/README.md")
    file = _read(path, File)
    people = _read(files / PEOPLE, People).people if (files / PEOPLE).exists() else {}
    everybody = _people(files / PEOPLE, people, admins)
    _check_accounts(path, files / PEOPLE, everybody, file.bots, service)
    groups = {name: _with_admins(group, admins) for name, group in file.groups.items()}
    projects, where = _projects(files, file)
    made = Declared(path, service, groups, everybody, file.bots, projects, where, file.expect)
    checking.check(made)
    return made


def _read(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, "", f"not TOML: {error}") from error
    except ValidationError as error:
        raise input_error(path, error) from error


def _people(path: Path, people: Mapping[str, Person], admins: Admins) -> dict[str, Person]:
    """Of an admin, people.toml can say the e-mail address alone."""
    found = dict(people)
    for admin in admins.all():
        more = people.get(admin.name, Person())
        for field in more.model_fields_set - {"email"}:
            where = f"people.{admin.name}.{field}"
            raise InputError(path, where, "is said by admins.toml", "of an admin, only `email` stands here")
        found[admin.name] = Person(full_name=admin.full_name, email=more.email, ssh_keys=admin.ssh_keys)
    return found


def _with_admins(group: Group, admins: Admins) -> Group:
    named = [one for one in group.members if one != ADMINS]
    if len(named) == len(group.members):
        return group
    return group.model_copy(update={"members": (*(admin.name for admin in admins.all()), *named)})


def _check_accounts(
    path: Path, people_path: Path, people: Mapping[str, Person], bots: Mapping[str, Bot], service: str
) -> None:
    known: dict[str, str] = {}
    for where, field, names in ((people_path, "people", [*people]), (path, "bots", [*bots])):
        for name in names:
            if not words.USERNAME.fullmatch(name):
                hint = "letters, digits and . _ @ -, not digits alone"
                raise InputError(where, f"{field}.{name}", "cannot be the name of an account", hint)
            if name == service:
                hint = "it is made by the deploy: choose another name"
                raise InputError(where, f"{field}.{name}", "is the account of this program itself", hint)
            if (other := known.get(name.lower())) is not None:
                raise InputError(where, f"{field}.{name}", f"is declared as {other} already", "use another name")
            known[name.lower()] = f"{field}.{name}"


def _projects(files: Path, file: File) -> tuple[dict[str, Project], dict[str, str]]:
    """All of them by name, and in which table each is."""
    found: dict[str, Project] = {}
    where: dict[str, str] = {}
    lower: dict[str, str] = {}

    def add(name: str, project: Project, table: str) -> None:
        if (other := lower.get(name.lower())) is not None:
            problem = f"{name!r} is declared already, as {other!r} in [{where[other]}]"
            hint = "a project is declared once; names that differ by case alone are one on some machines"
            raise InputError(files / FILE, table, problem, hint)
        found[name], where[name], lower[name.lower()] = project, table, name

    for name, project in file.projects.items():
        add(name, project, f"projects.{name}")
    for key, one in file.sets.items():
        for name in _names(files, key, one.names, one.file):
            add(name, one.project(), f"sets.{key}")
    return found, where


def _names(files: Path, key: str, names: Iterable[str], file: str) -> list[str]:
    found = [*names]
    if file:
        try:
            lines = (files / file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            hint = f"a file beside {FILE}, one name a line"
            raise InputError(files / FILE, f"sets.{key}.file", f"{file}: {error}", hint) from None
        found += [line for line in (one.partition("#")[0].strip() for one in lines) if line]
    return found
