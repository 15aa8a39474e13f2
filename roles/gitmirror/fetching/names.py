"""Which of the names that a source lists are mirrored, and which cannot be names of folders here."""

import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

PART = re.compile(r"[A-Za-z0-9_+~@=,][A-Za-z0-9_+~@=,.-]{0,199}")
"""Of a path: neither hidden nor an option, `.` nor `..`. nginx serves the same (tree/etc/nginx/http.d)."""
LONGEST = 500
ENDS = (".git", ".lock", ".")
"""A part with one would lie inside another repository, or be none that git takes."""


def chosen(listed: Iterable[str], include: Collection[str], exclude: Collection[str]) -> list[str]:
    """Those that a pattern of the first names, and none of the second; in order. `*` also matches a slash."""
    return sorted(name for name in listed if _is_of(name, include) and not _is_of(name, exclude))


def refused(names: Iterable[str], present: Collection[str]) -> dict[str, str]:
    """Why, by name. present: what is mirrored already, which a name that differs in case alone gives way to."""
    found: dict[str, str] = {}
    taken = {name.casefold(): name for name in present}
    for name in names:
        parts = name.split("/")
        if len(name) > LONGEST or not all(PART.fullmatch(one) and not one.lower().endswith(ENDS) for one in parts):
            found[name] = "cannot be the name of a folder here"
        elif taken.setdefault(name.casefold(), name) != name:
            found[name] = f"differs from {taken[name.casefold()]} in case alone: some clients can hold only one"
    return found


def _is_of(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, one) for one in patterns)
