"""Whom restored files belong to: a snapshot tells numbers, and another host gives these to others."""

import grp
import os
import pwd
from pathlib import Path

from backup.agent.attempt import Refused
from backup.sizes import counted


def give(target: Path, owner: str) -> list[str]:
    """Gives all below target to a user and its group, but for what is root's; returns what is to be told of it.

    Raises Refused when this host has no such user.
    """
    try:
        known = pwd.getpwnam(owner)
    except KeyError:
        problem = f"there is no user {owner!r} on this host, whom the data belongs to: deploy the role first"
        raise Refused(problem) from None
    given: dict[tuple[int, int], int] = {}
    for folder, names, files in os.walk(target):
        for name in (*names, *files):
            path = f"{folder}/{name}"
            seen = os.lstat(path)
            uid, gid = (known.pw_uid if seen.st_uid else 0), (known.pw_gid if seen.st_gid else 0)
            if (uid, gid) != (seen.st_uid, seen.st_gid):
                os.lchown(path, uid, gid)
                given[seen.st_uid, seen.st_gid] = given.get((seen.st_uid, seen.st_gid), 0) + 1
    whose = f"{owner}:{grp.getgrgid(known.pw_gid).gr_name}"
    return [f"{counted(count, 'path')} of {uid}:{gid} went to {whose}" for (uid, gid), count in sorted(given.items())]
