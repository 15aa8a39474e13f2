"""Accounts of people and bots: made where they are missing, and never removed."""

from collections.abc import Iterator

from roles.gerrit.tools.access import words
from roles.gerrit.tools.access.declaration import Bot, Person
from roles.gerrit.tools.access.declared import Declared
from roles.gerrit.tools.access.found import Found, FoundAccount
from roles.gerrit.tools.access.reading import Secret
from roles.gerrit.tools.access.steps import Step
from roles.gerrit.tools.rest import Request, part

TOKEN = "mainstay"  # noqa: S105  # its name at Gerrit
TOKENS_SINCE = (3, 13)
"""Before, an account has one password for https."""


def steps(declared: Declared, found: Found, secret: Secret) -> Iterator[Step]:
    """What is to do, one step an account."""
    waiting = waited_for(declared, found)
    for name, person in sorted(declared.people.items()):
        if name not in waiting:
            yield from _made(name, person, found, "")
    for name, bot in sorted(declared.bots.items()):
        yield from _made(name, bot, found, secret(bot.token) if bot.token else "")


def waited_for(declared: Declared, found: Found) -> frozenset[str]:
    """People whose accounts only they can make, by logging in."""
    return frozenset() if found.by_header else frozenset(declared.people) - {*found.accounts}


def _made(name: str, wanted: Person | Bot, found: Found, token: str) -> Iterator[Step]:
    bot = isinstance(wanted, Bot)
    there = found.accounts.get(name)
    told, asked, introduced = [], [], None
    path = f"/accounts/{there.number if there else part(name)}"
    if not there:
        told.append("+ account" + (f", {wanted.full_name}" if wanted.full_name else ""))
        if isinstance(wanted, Person):
            introduced = (name, wanted.full_name, wanted.email)
        else:
            asked.append(Request("PUT", path, {"name": wanted.full_name or name}, tolerated=(409,)))
        there = FoundAccount(0, {}, not token)
    for line in wanted.ssh_keys:
        if _bare(line) not in there.keys:
            told.append(f"+ ssh key {_short(line)}")
            asked.append(Request("POST", f"{path}/sshkeys", line))
    if bot:
        keys = {_bare(line) for line in wanted.ssh_keys}
        for line, number in there.keys.items():
            if line not in keys:
                told.append(f"- ssh key {_short(line)}")
                asked.append(Request("DELETE", f"{path}/sshkeys/{number}", tolerated=(404,)))
    if token and not there.token:
        told.append(f"~ token: as the secret {wanted.token!r} says" if isinstance(wanted, Bot) else "")
        asked += _token(path, token, found.version)
    service = next((one for one in found.groups.values() if one.name == words.SERVICE_USERS), None)
    if bot and service and name not in service.members:
        told.append(f"+ in {words.SERVICE_USERS}")
        member = found.accounts[name].number if name in found.accounts else part(name)
        asked.append(Request("PUT", f"/groups/{service.uuid}/members/{member}"))
    if told:
        yield Step(f"{'bot' if bot else 'person'} {name}", tuple(told), introduced, tuple(asked))


def _token(path: str, token: str, version: tuple[int, ...]) -> list[Request]:
    if version < TOKENS_SINCE:
        return [Request("PUT", f"{path}/password.http", {"http_password": token})]
    at = f"{path}/tokens/{TOKEN}"
    return [Request("DELETE", at, tolerated=(404,)), Request("PUT", at, {"token": token})]


def _bare(line: str) -> str:
    return " ".join(line.split()[:2])


def _short(line: str) -> str:
    kind, body, *comment = line.split()
    return " ".join([kind, f"...{body[-12:]}", *comment])
