"""An audit of all release servers: asked from outside, looked at on their disks, and read byte by byte where wanted."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from roles.common import turns
from roles.common.publishing.servers import Place, Program, ServerError, Session, session
from roles.common.turns import Coverage
from roles.release.archive import SHA256SUM, checksum
from roles.release.tools.audit import client, compared, inside, on_disk, outside, reading, resumed
from roles.release.tools.audit.findings import WRONG, Finding, Kind, finding, settled
from roles.release.tools.audit.inside import PUBLIC, Disk
from roles.release.tools.audit.reading import Record
from roles.release.tools.audit.truth import Need, Truth, about, lines_of

PROGRAM = Program(turns, on_disk)
IDLE = ("nice", "-n", "10", "ionice", "-c", "3")
"""How reading is started: served downloads come first."""
Tell = Callable[[int], None]
"""Told of bytes that were read since it was told last."""


@dataclass(frozen=True)
class Target:
    """A release server. asked: by its first address; place: its disk, None where only the outside is looked at; also:
    by its other addresses, where as much is asked as phones begin with; unasked: those that this machine has no way
    to."""

    asked: client.Server
    place: Place | None
    also: tuple[client.Server, ...] = ()
    unasked: tuple[str, ...] = ()
    program: Program | None = PROGRAM
    """None: the place's command is one."""

    @property
    def name(self) -> str:
        return self.asked.name


@dataclass(frozen=True)
class ServerState:
    """A server at a glance. commit: of the metadata on its disk; free: bytes; empty or None: not known."""

    name: str
    answers: bool
    commit: str
    free: int | None
    packages: int
    coverage: Coverage | None


@dataclass(frozen=True)
class Verdict:
    """What was found. devices, channels: what was to be looked at; requests: how many were answered."""

    truth: Truth
    servers: tuple[ServerState, ...]
    findings: tuple[Finding, ...]
    requests: int
    seconds: float

    @property
    def wrong(self) -> list[Finding]:
        return [one for one in self.findings if one.kind.severity == WRONG]

    @property
    def told(self) -> list[Finding]:
        return [one for one in self.findings if one.kind.severity != WRONG]


@dataclass
class _Run:
    """An audit under way. All by server; sample: the package of which parts are asked for too."""

    truth: Truth
    sample: str
    found: list[Finding] = field(default_factory=list)
    needs: dict[str, dict[str, Need]] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    readings: dict[str, reading.Readings] = field(default_factory=dict)
    tails: dict[str, dict[str, tuple[int, bytes]]] = field(default_factory=dict)
    answers: dict[client.Server, dict[client.Ask, client.Answer]] = field(default_factory=dict)

    def unreachable(self, server: str, why: str) -> None:
        self.found.append(finding(server, "", Kind.UNREACHABLE, why, "an answer", ("", "")))

    def sizes(self, record: Record) -> dict[str, int]:
        """Of packages in bytes: as published anywhere, as read and found right, or as all that are whole agree on."""
        whole: dict[str, set[int]] = {}
        for name, tails in self.tails.items():
            for path, (size, tail) in tails.items():
                if outside.ends(tail, size) and f"{PUBLIC}{path}" in self.disks[name].files:
                    whole.setdefault(path, set()).add(size)
        found = {path: sizes.pop() for path, sizes in whole.items() if len(sizes) == 1}
        for readings in record.servers.values():
            for path, one in readings.items():
                if one.sha256 and one.sha256 == self.truth.sums.get(path.rpartition("/")[2]):
                    found[path] = one.known[0]
        for disk in self.disks.values():
            found |= disk.sizes
        return found


def audit(truth: Truth, targets: Sequence[Target], record: Record, now: datetime, deep: Tell | None = None) -> Verdict:
    """Looks at everything; deep: told of what is read, None: nothing is. Notes in the record what was seen and read."""
    begun = monotonic()
    run = _Run(truth, resumed.sample(truth, now), [*truth.problems()])
    placed = {one.name: replace(one.place, command=_idle(one.place)) for one in targets if one.place}
    with ExitStack() as stack, ThreadPoolExecutor(len(targets) + 1) as pool:
        opened = {one.name: stack.enter_context(session(placed[one.name], one.program)) for one in targets if one.place}
        first = pool.submit(lambda: asyncio.run(_first(run, targets)))
        _on_all(pool, run, opened, lambda name, to: _survey(run, name, to))
        first.result()
        run.needs = {one.name: _needs(run, one) for one in targets}
        second = pool.submit(lambda: asyncio.run(_second(run, targets)))
        _on_all(pool, run, opened, lambda name, to: _tails(run, name, to))
        second.result()
        for name, disk in run.disks.items():
            record.look(name, disk.artifacts(), run.readings[name], now)
        if deep:
            tell = deep
            _on_all(pool, run, opened, lambda name, to: _read(run, record, name, to, now, tell))
    _judge(run, targets, record)
    states = tuple(_state(run, record, one, now) for one in targets)
    requests = sum(len(one) for one in run.answers.values())
    return Verdict(truth, states, tuple(settled(run.found)), requests, monotonic() - begun)


def of_devices(verdict: Verdict, devices: Sequence[str]) -> Verdict:
    """What concerns these alone, and what concerns all."""
    chosen = tuple(one for one in verdict.findings if one.device in {*devices, ""})
    return Verdict(verdict.truth, verdict.servers, chosen, verdict.requests, verdict.seconds)


def due(record: Record, targets: Sequence[Target], now: datetime) -> int:
    """Bytes that a deep audit is about to read, as far as is known."""
    names = [one.name for one in targets if one.name in record.servers]
    return sum(record.servers[name][path].known[0] for name in names for path in record.due(name, now))


async def _first(run: _Run, targets: Sequence[Target]) -> None:
    asked = outside.first_round(run.truth)
    await asyncio.gather(*(_ask(run, server, asked) for one in targets for server in (one.asked, *one.also)))


async def _second(run: _Run, targets: Sequence[Target]) -> None:
    parts = resumed.asks(run.sample)
    asked = {one.asked: [*outside.second_round(run.needs[one.name]), *parts] for one in targets}
    asked |= {server: parts for one in targets for server in one.also}
    await asyncio.gather(*(_ask(run, server, asked[server]) for server in asked.keys() & run.answers.keys()))


async def _ask(run: _Run, server: client.Server, asked: Sequence[client.Ask]) -> None:
    if not asked:
        return
    try:
        found = await client.ask(server, asked)
    except client.NotReached as error:
        run.unreachable(server.name, str(error))
        return
    run.answers.setdefault(server, {}).update(found)
    if left := len({*asked} - found.keys()):
        errors = [answer.error for answer in found.values() if answer.error]
        said = f"{len(errors)} bad answers, so that {left} requests were not made: {errors[-1]}"
        run.unreachable(server.name, f"{server.address}: {said}")


def _idle(place: Place) -> Callable[..., Sequence[str]]:
    return lambda *words: place.command(*IDLE, *words)


def _on_all(
    pool: ThreadPoolExecutor, run: _Run, opened: dict[str, Session], do: Callable[[str, Session], None]
) -> None:
    """At the same time on every server; one that fails is asked no more."""
    for name, done in [(name, pool.submit(do, name, to)) for name, to in opened.items()]:
        try:
            done.result()
        except (ServerError, ValueError, KeyError, TypeError) as error:
            run.unreachable(name, f"its disk: {error}")
            del opened[name]


def _survey(run: _Run, name: str, to: Session) -> None:
    told = to.ask("survey")
    run.readings[name] = reading.readings(told["readings"])
    run.disks[name] = Disk.of(told)


def _tails(run: _Run, name: str, to: Session) -> None:
    there = [path for path in run.needs[name] if f"{PUBLIC}{path}" in run.disks[name].files]
    told = to.ask("tails", paths=[f"{PUBLIC}{path}" for path in there])["tails"]
    run.tails[name] = {path.removeprefix(PUBLIC): (size, bytes.fromhex(tail)) for path, (size, tail) in told.items()}


def _read(run: _Run, record: Record, name: str, to: Session, now: datetime, tell: Tell) -> None:
    """What is due on one server, each file noted as it is done."""
    for path in record.due(name, now):
        told = to.ask("digest", tell, path=f"{PUBLIC}{path}")
        if "error" in told:
            about_ = about(path, run.needs[name])
            run.found.append(finding(name, path, Kind.DIFFERING, told["error"], "a file that can be read", about_))
        else:
            size, mtime, inode = told["known"]
            record.note(name, path, (size, mtime, inode), told["sha256"], now)


def _judge(run: _Run, targets: Sequence[Target], record: Record) -> None:
    """All findings but those that were made on the way."""
    truth, found, sizes = run.truth, run.found, run.sizes(record)
    for one in targets:
        found += _answered(run, one.asked, sizes)
        for other in one.also:
            found += (replace(it, found=f"{it.found}, at {other.address}") for it in _answered(run, other, sizes))
        for address in one.unasked:
            found.append(finding(one.name, "", Kind.UNASKED, f"{address} was not asked", "an answer", ("", "")))
    hashes = {name: one for name, one in record.hashes().items() if name in run.disks}
    for name, disk in run.disks.items():
        found += inside.findings(name, disk, truth, run.needs[name], run.tails.get(name, {}), sizes)
        found += reading.wrong_content(name, hashes[name], _beside(disk), truth, run.needs[name])
    needs = {path: need for one in run.needs.values() for path, need in one.items()}
    first = {one.name: run.answers[one.asked] for one in targets if one.asked in run.answers}
    seen = {name: outside.seen(run.needs[name], answers) for name, answers in first.items()}
    apart = [*compared.outside(seen, needs), *compared.inside(run.disks, truth, needs)]
    found += [*compared.unexplained(apart, found), *compared.hashes(hashes, truth, needs)]


def _answered(run: _Run, server: client.Server, sizes: Mapping[str, int]) -> Iterator[Finding]:
    """Of one address."""
    name, answers = server.name, run.answers.get(server, {})
    yield from outside.metadata_findings(name, run.truth, answers)
    yield from outside.package_findings(name, run.truth, run.needs[name], answers, sizes)
    yield from resumed.findings(name, run.sample, run.needs[name], answers)


def _beside(disk: Disk) -> dict[str, str]:
    """Hash by path, as the checksum beside each file says."""
    found = {}
    for path, text in disk.texts.items():
        if path.endswith(SHA256SUM):
            with suppress(ValueError):
                found[path.removeprefix(PUBLIC).removesuffix(SHA256SUM)] = checksum(text)
    return found


def _state(run: _Run, record: Record, target: Target, now: datetime) -> ServerState:
    disk = run.disks.get(target.name)
    return ServerState(
        target.name,
        {target.asked, *target.also} <= run.answers.keys(),
        disk.commit if disk else "",
        disk.free if disk else None,
        len(disk.packages(run.truth.retired)) if disk else 0,
        record.coverage(target.name, now),
    )


def _needs(run: _Run, server: Target) -> dict[str, Need]:
    """By what the repository offers or is about to, and by what the server itself does."""
    truth = run.truth
    own = outside.served(truth, run.answers.get(server.asked, {}))
    disk = run.disks.get(server.name)
    there = lines_of(disk.served(truth)) if disk else {}
    needs = truth.needs(truth.offers)
    for offers in (own, there, truth.coming):
        for path, need in truth.needs(offers).items():
            needs.setdefault(path, need)
    return needs
