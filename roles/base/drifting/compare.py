"""What of a host is not as its last deploy left it. Pure."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from roles.base.drifting.shot import Shot

AT_MOST = 100
"""Of what is told: who unpacks a thousand files is told so by the first of them."""
LONGEST = 500
STOPPED_S = 600
"""So long a service may be stopped that somebody, or its own timer, starts again."""
PEOPLE = range(1000, 60000)
POWERS = {"adm", "disk", "docker", "kmem", "root", "shadow", "sudo", "systemd-journal"}
"""Groups by which an account may do what others may not."""
USER = ("user id", "group id", "home", "shell", "groups")
"""What a shot has of each."""
NO_SHELL = ("/nologin", "/false", "/sync")


class Finding(NamedTuple):
    """kind, what and why as `mainstay drift` has them; since: Unix seconds, 0: there is no trace of it."""

    kind: str
    what: str
    why: str
    since: float = 0


def differences(before: Shot, now: Shot, time: float) -> list[Finding]:
    """In the order of KINDS; before: as it was left, time: of now, in Unix seconds."""
    found = [one for kind, of_kind in KINDS.items() for one in of_kind(before[kind], now[kind], time)]
    found = [one._replace(what=one.what[:LONGEST], why=one.why[:LONGEST]) for one in found]
    more = len(found) - AT_MOST
    return found if more <= 0 else [*found[:AT_MOST], Finding("files", f"{more} more", "there is no end of it")]


def files(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    for path, is_ in now.items():
        was = before.get(path, is_)
        if was[:4] == is_[:4]:
            continue
        if not is_:
            yield Finding("files", path, "is gone")
        elif not was:
            yield Finding("files", path, "is there again", is_[4] if len(is_) > 4 else 0)
        elif was[0] != is_[0] or len(is_) < 4:
            yield Finding("files", path, f"is {is_[0]}, and was {was[0]}")
        else:
            yield _file(path, was, is_)


def _file(path: str, was: list[Any], is_: list[Any]) -> Finding:
    content = is_[3] != was[3]
    both = zip(("mode", "owner"), was[1:3], is_[1:3], strict=True)
    rights = [f"{name} {old} -> {new}" for name, old, new in both if old != new]
    return Finding("files", path, ", ".join(["content"] * content + rights), is_[4] if content else is_[5])


def packages(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    for name, there in now.items():
        if before.get(name) and not there:
            yield Finding("packages", name, "is gone")


def services(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    for unit, (enabled, active, since) in now.items():
        was_enabled, was_active, _ = before.get(unit, (enabled, active, 0))
        if enabled != was_enabled:
            yield Finding("services", unit, f"{enabled or 'not there'}, and was {was_enabled or 'not there'}")
        if was_active == "active" and active in ("inactive", "failed") and time - since > STOPPED_S:
            yield Finding("services", unit, "does not run" if active == "inactive" else "has failed", since)


def users(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    for name, is_ in now.items():
        was = before.get(name)
        if was is None:
            if _counts(is_):
                yield Finding("users", name, "nobody declared it")
        elif was != is_:
            changes = [(word, old, new) for word, old, new in zip(USER, was, is_, strict=True) if old != new]
            yield Finding(
                "users", name, ", ".join(f"{word} {_word(old)} -> {_word(new)}" for word, old, new in changes)
            )
    for name in sorted(before.keys() - now.keys()):
        if _counts(before[name]):
            yield Finding("users", name, "is gone")


def _word(value: Any) -> str:
    return (" ".join(value) if isinstance(value, list) else str(value)) or "none"


def _counts(user: list[Any]) -> bool:
    """Packages bring accounts that can do nothing, and so may their updates."""
    uid, _, _, shell, groups = user
    return uid == 0 or uid in PEOPLE or not shell.endswith(NO_SHELL) or bool(POWERS & {*groups})


def undeclared(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    for key in sorted(now.keys() - before.keys()):
        yield Finding(*now[key])


def sockets(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    for place in sorted(now.keys() - before.keys()):
        program, since = now[place]
        yield Finding("sockets", place, f"{program or 'something'} listens, and no role declares it", since)


def kernel(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    for key, (value, wanted, path) in now.items():
        if before.get(key, ("",))[0] != value:
            yield Finding("kernel", key, f"is {value}, and {path} has {wanted}")


def firewall(before: dict[str, Any], now: dict[str, Any], time: float) -> Iterator[Finding]:
    lines = [line for line in now if line not in before]
    if lines:
        shown = "; ".join(f"{'there is' if line[0] == '-' else 'there is no'} `{line[1:]}`" for line in lines[:3])
        yield Finding("firewall", "rules in force", f"are others than those of /etc/nftables.conf: {shown}")


KINDS: dict[str, Callable[[dict[str, Any], dict[str, Any], float], Iterator[Finding]]] = {
    one.__name__: one for one in (files, packages, services, users, undeclared, sockets, kernel, firewall)
}
