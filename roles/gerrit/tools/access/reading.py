"""Reads what is there: lists in pages, and of projects only what has changed since this machine last looked."""

from collections.abc import Callable, Mapping, Sequence

from roles.gerrit.tools.access import words
from roles.gerrit.tools.access.config_file import Broken
from roles.gerrit.tools.access.declared import Declared
from roles.gerrit.tools.access.found import Found, FoundAccount, FoundGroup, FoundProject
from roles.gerrit.tools.access.project_config import Config, read
from roles.gerrit.tools.access.remembered import Remembered, Texts
from roles.gerrit.tools.rest import AT_ONCE, Refused, Server, part
from roles.gerrit.tools.sources.ask import Tell, on_all

NAMES_AT_ONCE = 40
"""Names of accounts in one query."""
Secret = Callable[[str], str]
"""Values of secrets by name."""


def everything(server: Server, declared: Declared, remembered: Remembered, secret: Secret, tell: Tell) -> Found:
    """What is there of what is declared, and the names of all else. Raises Unreachable, Refused, InputError."""
    version, info = server.version, server.get("/config/server/info")
    groups = {one.uuid: one for one in _groups(server)}
    return Found(
        version,
        info["auth"]["auth_type"] == "HTTP",
        groups,
        _others(server, declared, {one.name for one in groups.values()}),
        _accounts(server, declared, secret),
        _projects(server, declared, remembered, tell),
    )


def _groups(server: Server) -> list[FoundGroup]:
    found = []
    for page in server.pages("/groups/", o=["MEMBERS", "INCLUDES"]):
        for name, one in page.items():
            members = {
                each.get("username", f"#{each['_account_id']}"): each["_account_id"] for each in one.get("members", [])
            }
            found.append(
                FoundGroup(
                    one["id"],
                    name,
                    one.get("description", ""),
                    one.get("owner_id", one["id"]),
                    one.get("options", {}).get("visible_to_all", False),
                    members,
                    frozenset(each["id"].replace("%3A", ":") for each in one.get("includes", [])),
                )
            )
    return found


def _others(server: Server, declared: Declared, own: set[str]) -> dict[str, str]:
    """UUIDs of groups in use that are not Gerrit's own: its system's, and those of LDAP."""
    used = {word for group in declared.groups.values() for word in (group.owner, *group.includes)}
    for project in declared.projects.values():
        rules = [*project.capabilities.values(), *(one for by in project.access.values() for one in by.values())]
        used |= {words.rule(rule)[1] for rule_ in rules for rule in rule_}
    found = {}
    for name in sorted(used & {*words.SYSTEM_GROUPS} | {one for one in used - own if "/" in one}):
        answer = server.get(f"/groups/{part(name)}")
        if not answer:
            raise Refused(f"Gerrit has no group {name!r}, which {declared.path} uses")
        found[name] = str(answer["id"]).replace("%3A", ":").replace("%2F", "/")
    return found


def _accounts(server: Server, declared: Declared, secret: Secret) -> dict[str, FoundAccount]:
    names = sorted({*declared.people, *declared.bots, declared.service})
    numbers: dict[str, int] = {}
    for at in range(0, len(names), NAMES_AT_ONCE):
        query = " OR ".join(f'username:"{name}"' for name in names[at : at + NAMES_AT_ONCE])
        for page in server.pages("/accounts/", q=query, o="DETAILS"):
            numbers |= {one["username"]: one["_account_id"] for one in page if "username" in one}

    def look(name: str) -> FoundAccount:
        bot = declared.bots.get(name)
        keyed = bot or declared.people.get(name)
        keys = _keys(server, numbers[name]) if keyed and (keyed.ssh_keys or bot) else {}
        token = server.takes(name, secret(bot.token)) if bot and bot.token else True
        return FoundAccount(numbers[name], keys, token)

    there = [name for name in names if name in numbers]
    return dict(zip(there, on_all(there, look, lambda *_: None, AT_ONCE), strict=True))


def _keys(server: Server, number: int) -> dict[str, int]:
    found = server.get(f"/accounts/{number}/sshkeys") or []
    return {" ".join(one["ssh_public_key"].split()[:2]): one["seq"] for one in found}


def revisions(server: Server, **only: object) -> dict[str, str]:
    """Of refs/meta/config of all projects, by their names; empty for one without."""
    return {
        name: one.get("branches", {}).get(words.META, "")
        for page in server.pages("/projects/", b=words.META, **only)
        for name, one in page.items()
    }


def _projects(server: Server, declared: Declared, remembered: Remembered, tell: Tell) -> dict[str, FoundProject]:
    at = revisions(server)
    wanted = [name for name in at if name in declared.projects or name == words.ALL_PROJECTS]
    configs = read_configs(server, {name: at[name] for name in wanted}, remembered, tell)
    return {name: FoundProject(revision, configs.get(name)) for name, revision in at.items()}


def read_configs(server: Server, at: Mapping[str, str], remembered: Remembered, tell: Tell) -> dict[str, Config]:
    """Of projects at these commits; what this machine has seen before is not asked for."""
    unseen: Sequence[tuple[str, str]] = [item for item in at.items() if item[1] not in remembered.commits]

    def texts(item: tuple[str, str]) -> Texts:
        name, commit = item
        return server.content(name, commit, "project.config"), server.content(name, commit, "groups")

    for (_, commit), both in zip(unseen, on_all(unseen, texts, tell, AT_ONCE), strict=True):
        remembered.commits[commit] = both
    found = {}
    for name, commit in at.items():
        try:
            found[name] = read(name, *remembered.commits[commit])
        except Broken as error:
            raise Refused(f"project {name}: {error}") from None
    return found
