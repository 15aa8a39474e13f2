"""From a role's tree/ and its settings to the files its hosts must have. Reads local files, touches no host."""

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from types import TracebackType

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError
from pydantic import SecretStr

from inventories.errors import InputError
from roles.common.tree_plan import Directory, File, Wanted

PROGRAMS = ("*.sh", "/usr/local/bin/*", "/usr/local/sbin/*")


def wanted(
    source: Path | None,
    context: Mapping[str, object],
    *,
    generated: Mapping[str, str | bytes],
    directories: Collection[str],
    linkable: Collection[str] = (),
    absent: Collection[str],
    modes: Mapping[str, str],
    owners: Mapping[str, str],
    secret: Collection[str],
    validate: Mapping[str, str],
) -> Wanted:
    """All that `operations.tree` promises for its arguments. Raises InputError for what cannot be meant."""
    where = source or "tree"
    contents = dict(_contents(source, context)) if source else {}
    for path, content in generated.items():
        if path in contents:
            raise InputError(where, path, "is both in the tree and generated")
        contents[path] = (content.encode() if isinstance(content, str) else content, False)
    for path in (*contents, *directories, *linkable, *absent):
        if not path.startswith("/") or path != str(PurePosixPath(path)) or set(path) & set("\n\t\\") or ".." in path:
            raise InputError(where, path, "must be a plain absolute path")
        if path in absent and (path in contents or path in directories):
            raise InputError(where, path, "is both wanted and absent")
    for mode in modes.values():
        if not re.fullmatch("[0-7]{3,4}", mode):
            raise InputError(where, "modes", f"{mode!r} is not a mode like 0640")
    for owner in owners.values():
        if owner.count(":") != 1 or not all(owner.split(":")):
            raise InputError(where, "owners", f"{owner!r} is not like user:group")
    files = []
    for path, (content, is_secret) in sorted(contents.items()):
        mode = _last(modes, path) or ("0755" if any(fnmatchcase(path, program) for program in PROGRAMS) else "0644")
        hidden = is_secret or any(fnmatchcase(path, pattern) for pattern in secret)
        files.append(File(path, content, int(mode, 8), _last(owners, path) or "root:root", hidden))
    on_the_way = {
        str(parent) for path in (*contents, *directories, *linkable) for parent in PurePosixPath(path).parents
    } - {"/"}
    kept = []
    for path in sorted(on_the_way | set(directories) | set(linkable)):
        found_mode, owner = _last(modes, path), _last(owners, path)
        kept.append(Directory(path, int(found_mode, 8) if found_mode else None, owner or None, path in directories))
    return Wanted(tuple(files), tuple(kept), tuple(sorted(absent)), tuple(validate.items()))


def _last(patterns: Mapping[str, str], path: str) -> str:
    return next((value for pattern, value in reversed(list(patterns.items())) if fnmatchcase(path, pattern)), "")


def _contents(source: Path, context: Mapping[str, object]) -> list[tuple[str, tuple[bytes, bool]]]:
    """Path on the host, content, and whether a secret is in it."""
    if not source.is_dir():
        raise InputError(source, "", "no such folder")
    found = []
    for file in sorted(source.rglob("*")):
        if file.is_symlink():
            raise InputError(file, "", "is a symlink: a tree holds files")
        if not file.is_file():
            continue
        path = f"/{file.relative_to(source)}"
        if file.suffix == ".j2":
            found.append((path.removesuffix(".j2"), _render(source, file, context)))
        else:
            found.append((path, (file.read_bytes(), False)))
    names = [path for path, _ in found]
    if twice := [path for path in names if names.count(path) > 1]:
        raise InputError(source, twice[0], "is there both as a file and as a template")
    return found


class _Secrets:
    """Unwraps SecretStr where a template prints one, and remembers that it did."""

    seen = False

    def finalize(self, value: object) -> object:
        if isinstance(value, SecretStr):
            self.seen = True
            return value.get_secret_value()
        return value


@cache
def _environment(source: Path) -> tuple[Environment, _Secrets]:
    secrets = _Secrets()
    environment = Environment(  # noqa: S701  # configuration files, not HTML
        loader=FileSystemLoader(source),
        undefined=StrictUndefined,
        finalize=secrets.finalize,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment, secrets


def _render(source: Path, file: Path, context: Mapping[str, object]) -> tuple[bytes, bool]:
    environment, secrets = _environment(source)
    secrets.seen = False
    try:
        text = environment.get_template(str(file.relative_to(source))).render(context)
    except TemplateSyntaxError as error:
        raise InputError(error.filename or file, f"line {error.lineno}", str(error.message)) from error
    except UndefinedError as error:
        culprit, line = _place(error.__traceback__, source) or (str(file), 0)
        hint = "give it in the context of the role's tree, or add it to the role's settings"
        raise InputError(culprit, f"line {line}", str(error.message), hint) from error
    except TemplateError as error:
        raise InputError(file, "", f"{type(error).__name__}: {error}") from error
    return text.encode(), secrets.seen


def _place(traceback: TracebackType | None, source: Path) -> tuple[str, int] | None:
    """The innermost template line of a traceback: jinja2 rewrites it to name templates."""
    place = None
    while traceback:
        filename = traceback.tb_frame.f_code.co_filename
        if filename.startswith(f"{source}/"):
            place = filename, traceback.tb_lineno
        traceback = traceback.tb_next
    return place
