"""Whether permissions come out as declared, by Gerrit's own word."""

from dataclasses import dataclass

from roles.gerrit.tools.access.declaration import Expectation
from roles.gerrit.tools.access.declared import Declared
from roles.gerrit.tools.access.found import Found
from roles.gerrit.tools.rest import AT_ONCE, Server, part
from roles.gerrit.tools.sources.ask import on_all


@dataclass(frozen=True)
class Outcome:
    """Of one expectation. told: what Gerrit says."""

    expected: str
    holds: bool
    told: str

    def __str__(self) -> str:
        return self.expected if self.holds else f"{self.expected}: {self.told}"


def check(server: Server, declared: Declared, found: Found) -> list[Outcome]:
    """Of all that are declared, in their order."""
    return on_all(declared.expectations, lambda one: _check(server, declared, found, one), lambda *_: None, AT_ONCE)


def _check(server: Server, declared: Declared, found: Found, one: Expectation) -> Outcome:
    name = one.account or _member(declared, one.group)
    who = f"{name} of {one.group}" if one.group else name
    expected = f"{who} {'may' if one.allowed else 'may not'} {one.permission} {one.ref} of {one.project}"
    account = found.accounts.get(name)
    if account is None or one.project not in found.projects:
        return Outcome(expected, holds=False, told="one of them is not there yet")
    answer = server.get(
        f"/projects/{part(one.project)}/check.access", account=account.number, ref=one.ref, perm=one.permission
    )
    allowed = answer is not None and answer["status"] == 200
    return Outcome(expected, allowed is one.allowed, "it is so" if allowed is one.allowed else _why(answer, allowed))


def _why(answer: dict[str, object] | None, allowed: bool) -> str:
    if answer is None:
        return "Gerrit has no answer"
    return "is allowed" if allowed else str(answer.get("message", "is not allowed"))


def _member(declared: Declared, group: str) -> str:
    """One that is not this program, where there is one."""
    return min(declared.with_included(group), key=lambda name: (name == declared.service, name))
