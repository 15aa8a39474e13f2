"""How it is proved that a restored Gerrit works, and the faults that prove the proof."""

import json
import re
from collections.abc import Mapping
from typing import Any

from backup.agent import ref_manifest
from backup.drills import common_checks, damage
from backup.drills.checks import Check, CheckFailed, Drill, Fault, Rehearsed, Restored
from backup.drills.serving import CERTIFICATE, QUIET, anothers_certificate
from roles.gerrit import configuration, secure, upgrading
from roles.gerrit.asked import Api
from roles.gerrit.repositories import GIT, LFS, SUFFIX, large_files, manifest, objects, refs
from roles.gerrit.restored import CONFIG, META, SECURE, USER, access, changes, consistency, counts, identity, quiet
from roles.gerrit.restored import secrets as secret_config
from roles.gerrit.reviewed import clone, review

KEPT = re.compile(r"site/(etc|data|lib|static)(/|$)")
"""Plugins are as they are declared, whatever was saved."""
UPGRADE_S = 4 * 3600
WRITTEN = {CONFIG, SECURE, *(f"site/etc/{one}" for one in ("jgit.config", *configuration.FILES))}
WRITTEN |= {f"site/etc/mainstay.{one}" for one in ("token", "version", "runs")}
"""Of what is kept: by a deploy, or at each start."""
ACTS_ON_NOBODY = {"outgoing": False, "auth": {"type": "http"}}
"""Settings. Logins by browser are of no use to a drill, and may need a directory, or a password for it."""

CHECKS = (
    common_checks.files_but(
        lambda path: not KEPT.match(path) or path in WRITTEN or path == ref_manifest.FILE,
        "but for repositories and what a deploy writes",
    ),
    common_checks.owned_by("gerrit"),
    CERTIFICATE,
    Check(
        "refs",
        "every ref of every repository is what it was at the instant of the backup",
        "the ref manifest in the snapshot",
        refs,
        limit_s=3600,
        after=False,
    ),
    Check(
        "objects", "every repository has all objects that its refs lead to", "git's own walk", objects, limit_s=14400
    ),
    Check(
        "large files",
        "every large file (LFS) that a branch points to is there, of its size and content",
        "the pointers in all branches, and the names of files, which are their SHA-256",
        large_files,
        limit_s=14400,
    ),
    Check(
        "identity",
        "it is the server that was saved, by its id and its ssh keys, under the name of this drill",
        "its configuration and keys in the snapshot, and who wrote the newest change",
        identity,
    ),
    Check("secrets", "its secret configuration is in force", "the one in the snapshot", secret_config),
    Check("quiet", "it acts on nobody outside", "the configuration in force", quiet),
    Check("consistency", "accounts, their logins and groups fit together", "Gerrit's own checks", consistency, 1800),
    Check("changes", "the newest changes are found by a query, as they were", "the ref manifest", changes),
    Check(
        "counts", "no project, change, account or group is lost", "the ref manifest, and the last drill", counts, 3600
    ),
    Check("access", "groups have the members that they had", "their files at the commits of the ref manifest", access),
    Check("clone", "people clone over https and ssh what was saved", "the ref manifest", clone, limit_s=3600),
    Check(
        "review",
        "people push a change, which is reviewed and merged",
        "what comes back over https",
        review,
        before=False,
    ),
)
AS_GERRIT = 'script=$1; shift; exec runuser -u gerrit -- env HOME=/nonexistent sh -euc "$script" sh "$@"'
NO_OBJECT = """cd "$1"; id=$(git rev-parse "$2")
file="objects/$(echo "$id" | cut -c-2)/$(echo "$id" | cut -c3-)"
if ! test -e "$file"; then
    mkdir ../unpacked
    mv objects/pack/* ../unpacked
    for pack in ../unpacked/*.pack; do git unpack-objects -q <"$pack"; done
    rm -r ../unpacked
fi
rm -f "$file"
"""
NEWER = """cd "$1"; export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x
id=$(git commit-tree -p "$2" -m newer "$2^{tree}")
git update-ref "$2" "$id"
rm -f "objects/$(echo "$id" | cut -c-2)/$(echo "$id" | cut -c3-)"
"""
NO_REF = 'git --git-dir "$1" update-ref -d "$2"'
BACK = 'cd "$1"; if git rev-parse -q --verify "$2^"; then git update-ref "$2" "$2^"; else git update-ref -d "$2"; fi'
USERS = f"{GIT}/All-Users{SUFFIX}"


def _as_gerrit(copy: Restored, script: str, path: str, *words: str) -> None:
    copy.sh(AS_GERRIT, script, f"{copy.root}/{path}", *words)


def _branch(copy: Restored) -> tuple[str, str]:
    """A repository, and a branch of it."""
    for path, one in sorted(manifest(copy).items()):
        for name in sorted(one.refs):
            if name.startswith("refs/heads/"):
                return path, name
    raise CheckFailed("this fault needs a repository with a branch, and the snapshot has none")


def _missing_object(copy: Restored) -> str:
    path, branch = _branch(copy)
    _as_gerrit(copy, NO_OBJECT, path, f"{branch}^{{tree}}")
    return f"{path} lacks the tree of {branch}"


def _missing_ref(copy: Restored) -> str:
    path, branch = _branch(copy)
    _as_gerrit(copy, NO_REF, path, branch)
    return f"{path} lacks {branch}"


def _newer(copy: Restored) -> str:
    path, branch = _branch(copy)
    _as_gerrit(copy, NEWER, path, branch)
    return f"{path}: {branch} leads to a commit that is not there"


def _other_server(copy: Restored) -> str:
    words = ("gerrit.serverId", "00000000-0000-4000-8000-000000000000")
    copy.sh('git config --file "$1" "$2" "$3"', f"{copy.root}/{CONFIG}", *words)
    return f"its serverId is {words[1]}"


def _stale(copy: Restored) -> str:
    """The newest change is as it was before something was last said of it, or not there at all."""
    found = [
        (int(match[1]), path)
        for path, one in manifest(copy).items()
        for name in one.refs
        if (match := META.fullmatch(name))
    ]
    if not found:
        raise CheckFailed("this fault needs a change, and the snapshot has none")
    number, path = max(found)
    _as_gerrit(copy, BACK, path, f"refs/changes/{number % 100:02}/{number}/meta")
    return f"change {number} is as it was before its last update"


def _large_file(copy: Restored) -> str:
    kept = [file for file in copy.wanted if file.type == "file" and file.path.startswith(f"{LFS}/")]
    return damage.remove(copy, damage.first(kept, "a large file (LFS)").path)


def _lost_account(copy: Restored) -> str:
    own = str(Api.of(copy).get("/a/accounts/self")["_account_id"])
    users = [name for name in manifest(copy)[USERS].refs if (match := USER.fullmatch(name)) and match[1] != own]
    if not users:
        raise CheckFailed(f"this fault needs an account besides {secure.ACCOUNT}, and the snapshot has none")
    _as_gerrit(copy, NO_REF, USERS, users[-1])
    return f"{USERS} lacks {users[-1]}"


def _no_secrets(copy: Restored) -> str:
    copy.sh('truncate -s 0 "$1"', f"{copy.root}/{SECURE}")
    return f"{SECURE} is empty"


def _upgrade(copy: Restored, version: str) -> Rehearsed:
    """As `mainstay gerrit upgrade apply` does."""
    script = 'systemctl start "$1" || true; python3 -I "$2" told "$3"'
    told = json.loads(copy.sh(script, upgrading.unit(version), upgrading.PROGRAM, copy.root, timeout_s=UPGRADE_S))
    if why := upgrading.trouble(told, version):
        raise CheckFailed(why)
    return Rehearsed((f"from {told['old']} to {version}",), told["downtime_s"])


def _index(copy: Restored) -> str:
    """As a broken index that is begun anew with nothing in it: the server starts, and answers."""
    copy.sh('systemctl stop gerrit; rm -r "$1"/site/index/changes_*; systemctl start gerrit', copy.root)
    return "the index of changes is empty"


def fresh(settings: Mapping[str, Any]) -> set[str]:
    """The token, and whatever a section of a configuration file takes from the secrets."""
    files = (settings.get("sections", {}), *settings.get("files", {}).values())
    values = [value for sections in files for keys in sections.values() for value in keys.values()]
    return {secure.TOKEN, *(value["secret"] for value in values if isinstance(value, Mapping))}


FAULTS = (
    Fault("missing object", "objects", _missing_object),
    Fault("missing ref", "refs", _missing_ref),
    Fault("refs newer than objects", "objects", _newer),
    Fault("other serverId", "identity", _other_server),
    Fault("stale snapshot", "changes", _stale),
    Fault("lost LFS object", "large files", _large_file),
    Fault("lost account", "consistency", _lost_account),
    Fault("empty secure.config", "secrets", _no_secrets),
    Fault("wrong owner", "owners", lambda copy: damage.give_away(copy, f"{USERS}/HEAD")),
    Fault("corrupted index", "changes", _index),
    Fault("wrong certificate", "certificate", anothers_certificate),
)
# It comes back whole or not at all: of a part no repository would be complete.
DRILL = Drill(
    CHECKS,
    FAULTS,
    size_gb=2000,
    budget_s={"start": 3600, "checks": 4 * 3600},
    fresh=fresh,
    quiet=QUIET | ACTS_ON_NOBODY,
    rehearse=_upgrade,
)
