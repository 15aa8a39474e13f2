"""What Gerrit knows by name: permissions, capabilities, options; and which names it can take.

As of Gerrit 3.13 (Permission, GlobalCapability, BooleanProjectConfig and ProjectConfig in its sources).
"""

import re

ALL_PROJECTS, ALL_USERS = "All-Projects", "All-Users"
ADMINISTRATORS, SERVICE_USERS = "Administrators", "Service Users"
META = "refs/meta/config"
EVERYBODY = frozenset({"global:Anonymous-Users", "global:Registered-Users"})
"""UUIDs of the groups that every account is in."""
SYSTEM_GROUPS = ("Anonymous Users", "Registered Users", "Project Owners", "Change Owner")
_PERMISSIONS = """
abandon addPatchSet create createSignedTag createTag delete deleteChanges deleteOwnChanges editCustomKeyedValues
editHashtags editTopicName forgeAuthor forgeCommitter forgeServerAsCommitter owner push pushMerge read rebase
removeReviewer revert submit submitAs toggleWipState viewPrivateChanges
"""
PERMISSIONS = tuple(_PERMISSIONS.split())
OF_LABELS = ("label-", "labelAs-", "removeLabel-")
_CAPABILITIES = """
accessDatabase administrateServer batchChangesLimit createAccount createGroup createProject deleteGroup
emailReviewers flushCaches killTask maintainServer modifyAccount priority queryLimit readAs runAs runGC streamEvents
viewAccess viewAllAccounts viewCaches viewConnections viewPlugins viewQueue viewSecondaryEmails
"""
CAPABILITIES = tuple(_CAPABILITIES.split())
_OPTIONS = """
change.privateByDefault change.workInProgressByDefault receive.checkReceivedObjects
receive.createNewChangeForAllNotInTarget receive.enableSignedPush receive.maxBatchChanges
receive.maxObjectSizeLimit receive.rejectImplicitMerges receive.requireChangeId
receive.requireContributorAgreement receive.requireSignedOffBy receive.requireSignedPush reviewer.enableByEmail
reviewer.skipAddingAuthorAndCommitterAsReviewers submit.matchAuthorToCommitterDate submit.mergeContent
submit.rejectEmptyCommit
"""
OPTIONS = tuple(_OPTIONS.split())
_CHECKABLE = """
create createSignedTag createTag delete forgeAuthor forgeCommitter forgeServerAsCommitter push read
viewPrivateChanges
"""
CHECKABLE = tuple(_CHECKABLE.split())
"""What `check.access` answers for; anything else is 400 'not recognized as ref permission' (3.12, 3.13)."""
USERNAME = re.compile(r"(?=.*[A-Za-z_-])[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
"""Gerrit takes more; one of digits alone would be taken for the number of an account."""
_RULE = re.compile(
    r"(?:(?P<action>block|deny|interactive|batch)\s+)?(?P<force>\+force\s+)?"
    r"(?:(?P<low>[+-]?\d+)\.\.(?P<high>[+-]?\d+)\s+)?(?P<group>\S.*)"
)


def project_problem(name: str) -> str:
    """Why this cannot be the name of a project, or empty."""
    parts = name.split("/")
    if not name or name != name.strip() or not name.isprintable():
        return "cannot be the name of a project"
    if any(not part or part in (".", "..") or part.endswith((".git", ".lock", ".")) for part in parts):
        return "cannot be the name of a project: no part may be empty, . or .., or end with .git or ."
    if set(name) & set('\\:*?"<>|~^%#[]@{}') or name.startswith("-"):
        return "cannot be the name of a project: letters, digits and - _ . / + are safe"
    return ""


def group_problem(name: str) -> str:
    """Why this cannot be the name of a group, or empty."""
    found = _RULE.fullmatch(name)
    if not name or name != name.strip() or not name.isprintable() or set(name) & set('\\"#;/%'):
        return "cannot be the name of a group"
    if found is None or found["group"] != name or name.startswith("group ") or name in SYSTEM_GROUPS:
        return "cannot be the name of a group: in a rule it would be taken for another"
    return ""


def ref_problem(pattern: str) -> str:
    """Why this is no pattern of refs, or empty. Gerrit's: refs/..., refs/.../*, or a regular expression from ^refs/."""
    if not pattern.isprintable() or re.search(r"\s", pattern):
        return "is no pattern of refs"
    if pattern.startswith("^"):
        if not pattern.startswith("^refs/"):
            return "is no pattern of refs: a regular expression begins with ^refs/"
        try:
            re.compile(pattern.replace("${username}", "u").replace("${shardeduserid}", "u"))
        except re.error as error:
            return f"is no regular expression: {error}"
        return ""
    bare = pattern.removesuffix("/*")
    if not re.fullmatch(r"refs(/(\$\{username\}|\$\{shardeduserid\}|[^/~^:?*\[\\.${}@][^/~^:?*\[\\${}]*))*", bare):
        return "is no pattern of refs: refs/..., refs/.../* or ^refs/..."
    if ".." in bare or "@{" in bare or bare.endswith((".lock", ".", "/")) or pattern == "refs":
        return "is no pattern of refs: git takes no such name"
    return ""


def permission_problem(name: str, labels: frozenset[str]) -> str:
    """Why there is no such permission, or empty. labels: those that a project has or inherits."""
    for prefix in OF_LABELS:
        if name.startswith(prefix):
            known = ", ".join(sorted(labels)) or "none"
            label = name.removeprefix(prefix)
            return "" if label in labels else f"no label {label!r}; the project has: {known}"
    if name in PERMISSIONS or re.fullmatch(r"plugin-[\w-]+-\w+", name):
        return ""
    return f"no such permission; known are: {', '.join(PERMISSIONS)}, and label-, labelAs-, removeLabel- with a label"


def rule(text: str) -> tuple[str, str]:
    """What comes before the group in a rule, in one form, and the group. `-2..+2 core` gives (`-2..+2 `, `core`)."""
    found = _RULE.fullmatch(text.strip())
    if not found:
        return "", ""
    made = f"{found['action']} " if found["action"] else ""
    made += "+force " if found["force"] else ""
    if found["low"]:
        made += f"{int(found['low']):+d}..{int(found['high']):+d} "
    return made, found["group"].removeprefix("group ").strip()
