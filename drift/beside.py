"""What a host says beside the answers to its deploy's questions, held against what is declared. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import unified_diff
from typing import Any

from drift.findings import Finding
from roles.base.firewall import places
from roles.common import Listen

RULES = "/etc/nftables.conf"
AT_MOST = 100
"""Of what nobody declared on one host: who unpacks a thousand files is told so by the first of them."""


def beside(name: str, listens: Sequence[Listen], said: Mapping[str, Any]) -> Iterator[Finding]:
    """All of it, for the answer of on_host/look.py. listens: all that may."""
    undeclared = said["undeclared"]
    for kind, what, why, since in undeclared[:AT_MOST]:
        yield Finding(name, kind, what, why, since)
    if more := undeclared[AT_MOST:]:
        yield Finding(name, "files", f"{len(more)} more", "nobody declared them")
    yield from sockets(name, listens, said["sockets"])
    for key, now, wanted, path in said["kernel"]:
        yield Finding(name, "kernel", key, f"is {now}, and {path} has {wanted}")
    if said["firewall"]:
        yield firewall(name, *said["firewall"])


def sockets(name: str, listens: Sequence[Listen], found: Sequence[Sequence[Any]]) -> Iterator[Finding]:
    """What listens that no role of the host declares."""
    allowed = places(listens)
    told = set()
    for protocol, address, port, program, since in found:
        place = (protocol, address, port)
        if place in allowed or place in told:
            continue
        told.add(place)
        who = f"{program} listens" if program else "something listens"
        yield Finding(name, "sockets", f"{protocol} {address}:{port}", f"{who}, and no role declares it", since)


def firewall(name: str, here: str, there: str) -> Finding:
    """The rules in force against those that the file makes."""
    lines = unified_diff(here.splitlines(), there.splitlines(), lineterm="", n=1)
    shown = tuple(line.replace("\t", "  ") for line in lines if not line.startswith(("--- ", "+++ ")))
    return Finding(name, "firewall", "rules in force", f"are others than those of {RULES}", lines=shown)


def dated(finding: Finding, said: Mapping[str, Any]) -> Finding:
    """The same with the time at which it came to be so, where the host has a trace of it."""
    if finding.since:
        return finding
    since = 0.0
    if finding.kind == "services":
        since = said["units"].get(finding.what, 0)
    elif finding.kind == "packages":
        since = said["gone"].get(finding.what, 0)
    elif finding.kind == "users":
        keys = (path for path in said["changed"] if path.endswith(f"/{finding.what}/.ssh/authorized_keys"))
        since = said["changed"].get(next(keys, ""), (0, 0))[0] if finding.why.startswith("SSH keys") else 0
    elif finding.kind == "files":
        content, rights = said["changed"].get(finding.what, (0, 0))
        since = content if "content" in finding.why else rights
    return replace(finding, since=since)
