"""Makes what differs as declared, in an order in which nothing is used before it is there.

Accounts; groups, and who is in them; the way in, and labels that All-Projects is to have; projects, those first that
others inherit from, and All-Projects last; and then who is no longer in a group. Each part is compared anew with what
is there then: of two runs at once each does what the other has not, and one that was killed is run again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from roles.gerrit.tools.access import accounts, expectations, groups, projects, words
from roles.gerrit.tools.access.config_file import Entry
from roles.gerrit.tools.access.expectations import Outcome
from roles.gerrit.tools.access.found import NEW, Found
from roles.gerrit.tools.access.meta import Meta, Raced, meta, revision
from roles.gerrit.tools.access.planning import Way, right, way_in
from roles.gerrit.tools.access.project_config import uuids, written
from roles.gerrit.tools.access.reading import read_configs
from roles.gerrit.tools.access.steps import Step
from roles.gerrit.tools.rest import Refused, Request, part

TRIES = 10
"""How often a project is read again that others write to."""
Say = Callable[[Step], None]
"""Told of each step that is done."""


@dataclass(frozen=True)
class Done:
    """How many steps, and what came of it."""

    steps: int
    outcomes: tuple[Outcome, ...]

    @property
    def broken(self) -> tuple[Outcome, ...]:
        return tuple(one for one in self.outcomes if not one.holds)


def apply(way: Way, say: Say) -> Done:
    """Raises Unreachable, Refused, InputError; each time what was told of is done, and nothing else but for one step
    that may have been begun."""
    declared, done = way.declared, 0
    found = way.read()

    def run(steps: Iterable[Step], also: Callable[[Step], None] = lambda _: None) -> Found:
        """What is there afterwards."""
        nonlocal done
        before = done
        for step in steps:
            if step.introduced:
                way.server.introduce(*step.introduced)
            for request in step.requests:
                way.server.ask(request)
            also(step)
            done += 1
            say(step)
        return found if done == before else way.read()

    found = run(accounts.steps(declared, found, way.secret))
    found = run(groups.made(declared, found))
    found = run(groups.filled(declared, found))
    if steps := [*way_in(declared, found), *projects.steps(declared, found)]:
        _let_in(way, found)
        with meta(way.server, way.scratch) as repository:
            configuring = Configuring(way, found, repository)
            configuring.labels(steps)
            found = run(steps, configuring.step)
    found = run(groups.emptied(declared, found))
    way.remember(found)
    return Done(done, tuple(expectations.check(way.server, declared, found)))


def _let_in(way: Way, found: Found) -> None:
    """The right to push rights, which no project's configuration can be pushed without."""
    there = found.projects[words.ALL_PROJECTS].config
    if there and right(found) not in there.entries:
        rules = {"push": {"rules": {found.uuid(words.ADMINISTRATORS): {"action": "ALLOW", "force": False}}}}
        body = {"add": {words.META: {"permissions": rules}}}
        way.server.ask(Request("POST", f"/projects/{part(words.ALL_PROJECTS)}/access", body))


@dataclass(frozen=True)
class Configuring:
    """Writes configurations of projects."""

    way: Way
    found: Found
    repository: Meta

    def labels(self, steps: Iterable[Step]) -> None:
        """Those that All-Projects is to have and has not, where others may already use them."""
        if not {one.project for one in steps} & {words.ALL_PROJECTS}:
            return
        label = [one for one in self._wanted(words.ALL_PROJECTS) if one.section == "label"]
        there = self.found.projects[words.ALL_PROJECTS].config
        known = {one.name for one in there.entries if one.section == "label"} if there else set()
        if fresh := frozenset(one for one in label if one.name not in known):
            self._write(words.ALL_PROJECTS, lambda entries: entries | fresh, "New labels")

    def step(self, step: Step) -> None:
        """Of one project."""
        if step.project:
            wanted = self._wanted(step.project)
            self._write(step.project, lambda _: wanted, "\n".join(["As declared", "", *step.words]))

    def _wanted(self, name: str) -> frozenset[Entry]:
        wanted = projects.entries(self.way.declared, self.found, name)
        if missing := [one.partition(":")[2] for one in uuids(wanted) if one.startswith(NEW)]:
            raise Refused(f"project {name}: its group {missing[0]!r} is gone again: somebody renames groups meanwhile")
        return wanted

    def _write(self, name: str, wanted: Callable[[frozenset[Entry]], frozenset[Entry]], message: str) -> None:
        """Until it is so: whoever else has written meanwhile, it is read again."""
        server, remembered = self.way.server, self.way.remembered
        for _ in range(TRIES):
            at = revision(server, name)
            if not at:
                raise Refused(f"project {name} is gone, or has no {words.META}")
            before = read_configs(server, {name: at}, remembered, lambda *_: None)[name]
            want = wanted(before.entries)
            if want == before.entries:
                return
            text, groups_ = written(want, before, self.found.names())
            try:
                self.repository.write(name, at, {"project.config": text, "groups": groups_}, message)
            except Raced:
                continue
            return
        raise Refused(f"project {name}: others keep writing its configuration; nothing of it was changed")
