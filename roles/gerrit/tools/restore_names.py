"""Names of projects and refs that a restore is asked for, and what becomes of them in the copy. Pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

KEPT = "refs/restored/"
"""Of the copy: what Gerrit would read as more than a branch or tag. A change's refs under their own names would be the
same change number twice, of which an index keeps either; configuration would be in force, and accounts be accounts."""
AS_THEY_ARE = ("refs/heads/", "refs/tags/")
CHANGE = re.compile(r"refs/changes/(\d\d)/(\d+)/(meta|robot-comments|[1-9]\d*)")
CONFIG = "refs/meta/config"
_IN_NO_PROJECT = re.compile(r'[\\:?"<>|%*~#\x00-\x1f\x7f\ud800-\udfff]')
"""What Gerrit takes in no name (LocalDiskRepositoryManager), or gives a meaning of its own."""
_IN_NO_REF = re.compile(r"[\x00-\x20~^:?*\[\\\x7f\ud800-\udfff]")


def project(name: str) -> str:
    """What is wrong with a project's name, or nothing."""
    if name != name.strip() or not name:
        return "is empty, or has blanks around it"
    if found := _IN_NO_PROJECT.search(name):
        return f"has {found[0]!r}"
    for part in name.split("/"):
        if part in ("", ".", "..") or part.startswith("-") or part.lower().endswith((".git", ".lock")):
            return f"has the part {part!r}"
    return ""


def ref(name: str) -> str:
    """What is wrong with a ref's whole name, or nothing (git-check-ref-format(1))."""
    parts = name.split("/")
    if parts[0] != "refs" or len(parts) < 3:
        return "must be whole, like refs/heads/main or refs/changes/45/12345/meta"
    if found := _IN_NO_REF.search(name):
        return f"has {found[0]!r}"
    if "@{" in name or ".." in name or any(not one or one[0] in ".-" or one.endswith((".", ".lock")) for one in parts):
        return "is no name of a ref"
    return "" if not name.startswith(KEPT) else f"must be as it is in the original, without {KEPT}"


def kept_as(name: str) -> str:
    """What a ref is called in the copy."""
    return name if name.startswith(AS_THEY_ARE) else KEPT + name.removeprefix("refs/")


def default(original: str, today: date) -> str:
    """Of the copy."""
    return f"{original}-restored-{today:%Y-%m-%d}"


def change_of(name: str) -> int | None:
    """The number of the change that a ref belongs to."""
    found = CHANGE.fullmatch(name)
    return int(found[2]) if found and int(found[2]) % 100 == int(found[1]) else None


def administrators(all_projects: Mapping[str, Any]) -> list[str]:
    """The groups that administer the server, by UUID, from the access rights of All-Projects as REST tells them."""
    capabilities = all_projects.get("local", {}).get("GLOBAL_CAPABILITIES", {}).get("permissions", {})
    rules = capabilities.get("administrateServer", {}).get("rules", {})
    return sorted(group for group, rule in rules.items() if rule.get("action", "ALLOW") == "ALLOW")


def readable_by(groups: Iterable[str], inherited: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The access rights by which these groups alone read a project, whatever it inherits.

    A rule of an ancestor for a narrower pattern goes before one for refs/*, so each of their patterns gets its own.
    """
    patterns = {"refs/*"} | {
        pattern
        for one in inherited
        for pattern, section in one.get("local", {}).items()
        if pattern.lstrip("^").startswith("refs/") and {"read", "owner"} & section.get("permissions", {}).keys()
    }
    rules = {group: {"action": "ALLOW", "force": False} for group in groups}
    read = {"permissions": {"read": {"exclusive": True, "rules": rules}}}
    return {"add": dict.fromkeys(sorted(patterns), read)}
