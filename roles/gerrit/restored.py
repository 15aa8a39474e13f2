"""Whether a restored Gerrit is the one that was saved, by what it answers: who it is, and what it knows."""

import re
import subprocess
from collections.abc import Sequence

from backup.drills.checks import CheckFailed, Evidence, NotJudged, Restored
from backup.drills.on_host import python, some
from backup.drills.serving import in_turn, turns
from backup.sizes import counted
from roles.gerrit import secure
from roles.gerrit.asked import Api, name_of
from roles.gerrit.repositories import GIT, SUFFIX, manifest, project
from roles.gerrit.settings import SSH_PORT

CONFIG, SECURE = "site/etc/gerrit.config", "site/etc/secure.config"
HOST_KEYS = re.compile(r"site/etc/ssh_host_\w+\.pub")
META = re.compile(r"refs/changes/\d\d/(\d+)/meta")
USER, GROUP = re.compile(r"refs/users/\d\d/(\d+)"), re.compile(r"refs/groups/[0-9a-f]{2}/([0-9a-f]{40})")
NEWEST, SAMPLE = 25, 50
"""Changes that are asked for in each drill: the newest, and others in turn."""
KEPT = 0.95
"""What is left of last time's projects, changes, accounts and groups, at least: less may be a loss."""
COUNTED = re.compile(r"([\d,]+) (project|change|account|group)s?")
ADMINS = "Administrators"
MAY_CHECK = {"accessDatabase": {"rules": {ADMINS: {"action": "ALLOW"}}}}
CONSISTENCY: dict[str, object] = {"check_accounts": {}, "check_account_external_ids": {}, "check_groups": {}}
CHANGES, ACCOUNTS = "/a/changes/?q=is:open+OR+is:closed", "/a/accounts/?q=is:active+OR+is:inactive"
MEMBERS = r"""
import json, subprocess, sys
words = ["git", "-c", "safe.directory=*", "--git-dir", sys.argv[1], "cat-file", "--batch"]
found = {}
for commit in sys.argv[2:]:
    names = f"{commit}:members\n{commit}:subgroups\n"
    out = subprocess.run(words, input=names.encode(), capture_output=True, check=True).stdout.decode()
    found[commit] = [line for line in out.splitlines() if line and " " not in line]
print(json.dumps(found))
"""


def _config(text: bytes, *words: str) -> str:
    """What git says of a configuration file that is not believed to be one. Raises CheckFailed."""
    done = subprocess.run(
        ["git", "config", "--file", "-", "--no-includes", *words], input=text, capture_output=True, check=False
    )
    if done.returncode not in (0, 1):
        raise CheckFailed(f"is no configuration: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout.decode(errors="replace").strip()


def _file(copy: Restored, path: str) -> bytes:
    """As it lies there."""
    return copy.sh('cat -- "$1"', f"{copy.root}/{path}").encode(errors="surrogateescape")


def identity(copy: Restored) -> Evidence:
    """It is the server that was saved, by the id in its changes and by its keys; and this drill's by its name."""
    public = sorted(file.path for file in copy.saved if HOST_KEYS.fullmatch(file.path))
    saved_config, *saved_keys = copy.read(CONFIG, *public)
    here, wrong = _file(copy, CONFIG), []
    saved, own = (_config(text, "gerrit.serverId") for text in (saved_config, here))
    if own != saved:
        wrong.append(f"its serverId is {own or 'none'}, saved as {saved or 'none'}")
    author = _newest_author(copy)
    if author and not author.endswith(f"@{own}"):
        wrong.append(f"the newest change was written by {author}, of another server than {own}")
    wrong += _keys(copy, [text.decode(errors="replace") for text in saved_keys])
    if (url := _config(here, "gerrit.canonicalWebUrl")) != f"https://{copy.client.name}/":
        wrong.append(f"it takes itself for {url}, and is {copy.client.name}")
    declared = [war.version for war, _ in copy.settings.wars().values()]
    if (version := Api.of(copy).get("/config/server/version")) not in declared:
        wrong.append(f"it is Gerrit {version}, and {' and '.join(declared)} is declared")
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence((f"Gerrit {version}, server {own}, with {counted(len(public), 'host key')} as saved",))


def _keys(copy: Restored, saved: Sequence[str]) -> list[str]:
    """Each kind of key that it shows is one that was saved."""
    words = ["ssh-keyscan", "-T", "10", "-p", str(SSH_PORT), copy.client.address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    shown = [tuple(line.split()[1:3]) for line in done.stdout.splitlines() if line[:1] not in ("", "#")]
    known = {tuple(line.split()[:2]) for line in saved}
    if not shown:
        return [f"no ssh at port {SSH_PORT}: {done.stderr.strip()[-200:]}"]
    return [f"its ssh shows another {kind} key than was saved" for kind, key in shown if (kind, key) not in known]


def _newest_author(copy: Restored) -> str:
    """Of what was last written of the newest change: `ID@SERVER`; empty where there is no change."""
    newest = max(_changes(copy), default=None)
    if not newest:
        return ""
    script = 'git -c safe.directory="*" --git-dir "$1" log -1 --format=%ae "$2" --'
    return copy.sh(script, f"{copy.root}/{newest[1]}", newest[2]).strip()


def _changes(copy: Restored) -> list[tuple[int, str, str]]:
    """Number, repository and meta commit of every change that was saved."""
    return [
        (int(match[1]), one.path, value)
        for one in manifest(copy).values()
        for name, value in one.refs.items()
        if (match := META.fullmatch(name))
    ]


def secrets(copy: Restored) -> Evidence:
    """What nobody may read was saved, and the one in force says as much of logins, and is not read by others.

    Passwords for other servers are in no drill: it asks none of them.
    """
    (saved,) = copy.read(SECURE)
    wanted, there = _said(saved), _said(_file(copy, SECURE))
    wrong = [] if wanted else [f"{SECURE}: is empty in the snapshot"]
    own = sorted(key for key in wanted if key.startswith("auth."))
    if lacking := [key for key in own if not there.get(key)]:
        wrong.append(f"{SECURE}: lacks {', '.join(lacking)}")
    mode = copy.sh('stat -c "%a %U" "$1"', f"{copy.root}/{SECURE}").strip()
    if mode != "600 gerrit":
        wrong.append(f"{SECURE}: is of mode and owner {mode}")
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence((f"{', '.join(own)}; saved, and of no use here: {len(wanted) - len(own)} more",))


def _said(text: bytes) -> dict[str, str]:
    pairs = (one.partition("\n") for one in _config(text, "--list", "--null").split("\0") if one)
    return {key: value for key, _, value in pairs}


def quiet(copy: Restored) -> Evidence:
    """It sends no mail, by the configuration in force, and has loaded no plugin that tells other servers."""
    here, wrong = _file(copy, CONFIG), []
    if _config(here, "--type=bool", "sendemail.enable") != "false":
        wrong.append(f"{CONFIG}: sendemail.enable is not false: it could send mail to people")
    loaded = {name for name, _ in Api.of(copy).pages("/a/plugins/", "")}
    allowed = {one.name for _, plugins in copy.settings.wars().values() for one in plugins}
    wrong += [f"the plugin {name} is loaded, and not declared to be in a drill" for name in sorted(loaded - allowed)]
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence((f"sends no mail; {counted(len(loaded), 'plugin')} loaded, none of which tells other servers",))


def consistency(copy: Restored) -> Evidence:
    """Gerrit's own checks of accounts, of what they log in by, and of groups: administrators may not have them made,
    unless they allow it themselves."""
    api = Api.of(copy)
    api.send("POST", "/a/projects/All-Projects/access", {"add": {"GLOBAL_CAPABILITIES": {"permissions": MAY_CHECK}}})
    found = api.send("POST", "/a/config/server/check.consistency", CONSISTENCY)
    wrong = [
        f"{kind.removeprefix('check_').removesuffix('_result')}: {problem['message']}"
        for kind, told in sorted(found.items())
        for problem in told.get("problems", ())
        if problem.get("status") != "WARNING"
    ]
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence((f"no problem in {', '.join(sorted(CONSISTENCY))}",), len(CONSISTENCY), len(CONSISTENCY))


def changes(copy: Restored) -> Evidence:
    """The newest changes before the snapshot, and others in turn, are found by a query, as they were then.

    The query is answered by the index, the change itself by its repository.
    """
    known = sorted(_changes(copy), reverse=True)
    if not known:
        raise NotJudged("the snapshot has no change that could be asked for")
    newest, rest = known[:NEWEST], known[NEWEST:]
    chosen = [*newest, *in_turn(rest, copy.turn, SAMPLE)]
    query = "+OR+".join(f"change:{number}" for number, _, _ in chosen)
    api = Api.of(copy)
    found = {one["_number"]: one for one in api.get(f"/a/changes/?q={query}&n={len(chosen)}")}
    wrong = []
    for number, path, meta in chosen:
        one, at = found.get(number), f"/a/changes/{name_of(project(path))}~{number}"
        if not one:
            wrong.append(f"change {number} of {project(path)}: is not found")
        elif (one["project"], one["meta_rev_id"]) != (project(path), meta):
            wrong.append(f"change {number}: is {one['meta_rev_id']} of {one['project']}, saved as {meta}")
        elif api.status("GET", at) != 200 or api.get(at)["meta_rev_id"] != meta:
            wrong.append(f"change {number} of {project(path)}: is not what the index has of it, and what was saved")
    if wrong:
        raise CheckFailed(*wrong)
    first = found[newest[0][0]]
    told = f"the newest is {first['_number']} of {first['updated'][:16]} UTC; {counted(len(chosen), 'change')} as saved"
    return Evidence((told,), len(chosen), len(known), turns(rest, SAMPLE))


def counts(copy: Restored) -> Evidence:
    """All projects, changes, accounts and groups that were saved are listed; and not far fewer than last time."""
    api, known = Api.of(copy), manifest(copy)
    users = known[f"{GIT}/All-Users{SUFFIX}"].refs
    saved = {
        "project": {project(path) for path in known},
        "change": {str(number) for number, _, _ in _changes(copy)},
        "account": {match[1] for name in users if (match := USER.fullmatch(name))},
        "group": {match[1] for name in users if (match := GROUP.fullmatch(name))},
    }
    listed = {
        "project": {name for name, _ in api.pages("/a/projects/?all&type=ALL", "")},
        "change": {str(one["_number"]) for one in api.pages(CHANGES, "_more_changes")},
        "account": {str(one["_account_id"]) for one in api.pages(ACCOUNTS, "_more_accounts")},
        "group": {one["id"] for _, one in api.pages("/a/groups/", "")},
    }
    wrong = []
    for what, wanted in saved.items():
        if lacking := sorted(wanted - listed[what]):
            wrong.append(f"{counted(len(lacking), what)} of {len(wanted):,} not listed: {some(lacking)}")
    told = ", ".join(counted(len(found), what) for what, found in saved.items())
    wrong += fallen(told, copy.last("counts"))
    if wrong:
        raise CheckFailed(told, *wrong)
    return Evidence((told,))


def fallen(now: str, before: Sequence[str]) -> list[str]:
    """What there are far fewer of than last time. before: what this check saw then."""
    then, is_now = (
        {match[2]: int(match[1].replace(",", "")) for match in COUNTED.finditer(text)}
        for text in (before[0] if before else "", now)
    )
    return [
        f"{counted(count, what)} in the last drill, and {is_now.get(what, 0):,} now"
        for what, count in then.items()
        if is_now.get(what, 0) < min(count, max(1, int(count * KEPT)))
    ]


def access(copy: Restored) -> Evidence:
    """Each group has the members that were saved, accounts and groups, and its administrators are among them.

    Whether members and rights are those that are declared, `mainstay gerrit plan` says: to be asked for here.
    """
    api, path = Api.of(copy), f"{GIT}/All-Users{SUFFIX}"
    saved = {match[1]: value for name, value in manifest(copy)[path].refs.items() if (match := GROUP.fullmatch(name))}
    told = python(copy, MEMBERS, f"{copy.root}/{path}", *saved.values())
    listed = {one["id"]: (name, one) for name, one in api.pages("/a/groups/?o=MEMBERS&o=INCLUDES", "")}
    wrong, total = [], 0
    for uuid, commit in saved.items():
        name, one = listed.get(uuid, (uuid, {}))
        members = {str(who["_account_id"]) for who in one.get("members", ())}
        members |= {who["id"] for who in one.get("includes", ())}
        lost, more = set(told[commit]) - members, members - set(told[commit])
        wrong += [f"group {name}: lost {some(sorted(lost))}"] if lost else []
        wrong += [f"group {name}: has {some(sorted(more))}, who were not in it"] if more else []
        total += len(members)
    own = str(api.get("/a/accounts/self")["_account_id"])
    admins = [one for uuid, commit in saved.items() if listed.get(uuid, ("", {}))[0] == ADMINS for one in told[commit]]
    if own not in admins:
        wrong.append(f"group {ADMINS}: {secure.ACCOUNT} ({own}) was not saved as one of them")
    if wrong:
        raise CheckFailed(*wrong)
    told_ = f"{counted(total, 'member')} of {counted(len(saved), 'group')}, {counted(len(admins), 'administrator')}"
    return Evidence((told_,), len(saved), len(saved))
