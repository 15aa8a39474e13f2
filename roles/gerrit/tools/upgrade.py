"""Gerrit from one version to the next: rehearsed on a copy, done by the host itself (mainstay-gerrit-upgrade@.service),
and watched from here. Nothing here is needed for it to go on once it has begun."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup.drills import book
from backup.drills.report import Report
from backup.reach import Reach, Unreachable, answer
from backup.rules import span
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.gerrit.settings import War
from roles.gerrit.tools.server import ROLE, host_of, settings_of
from roles.gerrit.upgrading import PROGRAM, TAKEN_BACK, State, trouble, unit

LISTED = 10
GOOD_FOR = timedelta(days=7)
ASK_S, LOST_S, ROLLBACK_S = 60, 600, 3600
LOOK_S = 1.0
SILENT_S = 1800
"""How long the host may not answer before this side gives up watching."""
Say = Callable[[str], None]


class UpgradeError(Exception):
    """It cannot be done, or was not; says why, and how things stand."""


class WouldLose(UpgradeError):
    """A rollback would take back what was written since; says what."""


@dataclass(frozen=True)
class Upgrading:
    """A site's Gerrit, as upgrades see it."""

    way: Reach
    host: str
    mount: str

    def told(self, *more: str) -> State:
        """How it stands there; `lost`: with the refs that a rollback would lose. Raises Unreachable."""
        words = self.way.admin(self.host, "sudo", "-n", "python3", "-I", PROGRAM, "told", self.mount, *more)
        found: State = json.loads(answer(words, self.host, LOST_S if more else ASK_S).stdout)
        return found

    def working(self, version: str) -> bool:
        words = self.way.admin(self.host, "systemctl", "show", unit(version), "-p", "ActiveState", "--value")
        return answer(words, self.host, ASK_S).stdout.strip() in (b"activating", b"active", b"deactivating")


def declared(site: LoadedSite, version: str) -> War:
    """What is to run next. Raises InputError."""
    found = settings_of(site).upgrade
    if found is None or found.version != version:
        known = f"it is {found.version}" if found else "there is none"
        hint = "declare upgrade = { version = ..., sha256 = ..., source = ... } and run deploys/gerrit.py"
        raise InputError(site.path, "settings.gerrit.upgrade", f"not {version}: {known}", hint)
    return found


def rehearsed(site: LoadedSite, version: str, now: datetime, say: Say) -> Report:
    """The rehearsal by which that version may be brought in. Raises UpgradeError."""
    host = host_of(site)
    found = [one for one in book.reports(book.folder(site), say) if one.data_set == f"{host}:{ROLE}"]
    own = [one for one in found if one.rehearsed == version]
    again = f"`mainstay gerrit upgrade rehearse {version}`"
    if not own:
        raise UpgradeError(f"an upgrade to {version} was not rehearsed: {again}")
    last = max(own, key=lambda one: one.begun)
    if last.outcome not in ("passed", "degraded"):
        raise UpgradeError(f"the last rehearsal of {version}, {last.id}, {last.outcome or 'did not end'}: {again}")
    if now - last.begun > GOOD_FOR:
        raise UpgradeError(
            f"{version} was rehearsed {span(now - last.begun)} ago, and that is good for 7 days: {again}"
        )
    return last


def apply(one: Upgrading, version: str, say: Say) -> State:
    """Has the host do it, and says how far it is. Raises UpgradeError, and Unreachable when it is silent for long."""
    words = one.way.admin(one.host, "sudo", "-n", "systemctl", "start", "--no-block", unit(version))
    answer(words, one.host, ASK_S)
    return watch(one, version, say)


def watch(one: Upgrading, version: str, say: Say) -> State:
    """Until it has ended, whether or not the way to the host is there all the time."""
    step, heard = "", time.monotonic()
    while True:
        try:
            working, told = one.working(version), one.told()
            heard = time.monotonic()
        except Unreachable as error:
            if time.monotonic() - heard > SILENT_S:
                raise
            say(f"{error}; the host goes on by itself")
            time.sleep(LOOK_S)
            continue
        if told.get("step", "") != step:
            step = told["step"]
            say(f"{step}")
        if not working:
            break
        time.sleep(LOOK_S)
    if why := trouble(told, version):
        raise UpgradeError(why)
    return told


def rollback(one: Upgrading, *, lose: bool) -> State:
    """Puts the snapshot back. Raises UpgradeError, WouldLose."""
    told = one.told("lost")
    if told.get("step") not in TAKEN_BACK:
        raise UpgradeError("there is no upgrade to take back")
    if told["lost"] and not lose:
        more = f" and {len(told['lost']) - LISTED} more" if len(told["lost"]) > LISTED else ""
        raise WouldLose(f"{len(told['lost'])} refs were written since: {', '.join(told['lost'][:LISTED])}{more}")
    words = one.way.admin(one.host, "sudo", "-n", "python3", "-I", PROGRAM, "rollback", one.mount, *(["lose"] * lose))
    try:
        answer(words, one.host, ROLLBACK_S)
    except Unreachable as error:
        raise UpgradeError(str(error)) from None
    return one.told()
