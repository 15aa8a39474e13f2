"""The phases of a drill between its host's first breath and its checks: each does one thing, and says what it did."""

import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup import custody
from backup.custody import DataSet
from backup.drills import own_site
from backup.drills.checks import Check, CheckFailed, NotJudged
from backup.drills.choosing import Chosen
from backup.drills.on_host import EPOCH, printed
from backup.drills.own_site import Wanted
from backup.drills.report import CheckRun
from backup.drills.restored import OnHost
from backup.reach import SSH_FAILED, Reach, answer, held, reach
from backup.sizes import counted, size
from cloud import provision
from cloud.converge import converge
from inventories.inventory import LoadedSite

ATTEMPTS = 3
"""How often a restore that is cut is gone on with."""
AGAIN_S = 10
ANSWER_S = 60
EVIDENCE_AT_MOST = 20
ITSELF = "the check itself failed: "
"""Begins the evidence of a check that broke."""
APT_LOG = "cat /var/log/apt/history.log 2>/dev/null; true"
APT_TIME = re.compile(r"^(Start|End)-Date: (\d{4}-\d\d-\d\d +\d\d:\d\d:\d\d)$", re.MULTILINE)
VERSIONS = (
    'echo "debian $(cat /etc/debian_version)"; echo "kernel $(uname -r)"; '
    "for one in restic nginx git; do dpkg-query -Wf '${Package} ${Version}\\n' $one 2>/dev/null || true; done"
)
Say = Callable[[str], None]
Tell = Callable[[float, str], None]
"""How far it is, from 0 to 1, and in words."""


class StepFailed(Exception):
    """A phase did not do what it is for. log: what it printed."""

    def __init__(self, why: str, log: str = "") -> None:
        self.log = log
        super().__init__(why)


class OutOfTime(StepFailed):
    """The time that a drill may take is over."""


@dataclass(frozen=True)
class Deadline:
    """Until when a drill may go on, by a clock that nobody sets."""

    at: float

    def left(self) -> float:
        """Seconds. Raises OutOfTime when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise OutOfTime("its time is over: `hours` under [drill] says how long a drill may take")
        return left


def host(wanted: Wanted, folder: Path, hear: Say) -> tuple[LoadedSite, str]:
    """Makes the drill's hosts, and lets nobody but this machine connect to them; returns its address, as they see it.

    Raises StepFailed, CloudError.
    """
    site = own_site.load(wanted, folder)
    _bring(site, hear)
    name = next(iter(site.fleet.hosts))
    with reach(site) as way:
        said = answer(way.admin(name, "echo $SSH_CONNECTION"), name, ANSWER_S).stdout.decode().split()
    if not said:
        raise StepFailed(f"{name} does not tell where its connections come from")
    theirs = [address for host in site.lock.hosts.values() for address in (host.ipv4, host.ipv6) if address]
    own_site.write(wanted, folder, [said[0], *(theirs if wanted.whole else ())])
    site = own_site.load(wanted, folder)
    _bring(site, hear)
    return site, said[0]


def _bring(site: LoadedSite, hear: Say) -> None:
    if failures := provision.bring(site, hear):
        raise StepFailed(failures[0], "\n".join(failures))


def deploy(site: LoadedSite, deadline: Deadline, name: str = "site") -> None:
    """Runs a deploy as an admin does. Raises StepFailed with what it printed."""
    try:
        done = converge(site.path.with_suffix(".py"), name, timeout=deadline.left())
    except subprocess.TimeoutExpired:
        raise OutOfTime(f"deploys/{name}.py did not end in the time that a drill may take") from None
    if not done.ok:
        raise StepFailed(f"deploys/{name}.py exited {done.code}", done.output)


def package_seconds(on: OnHost) -> float:
    """How long apt was at work on the host, by its own log, in whole seconds."""
    moments = [
        (kind, datetime.strptime(" ".join(text.split()), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC))
        for kind, text in APT_TIME.findall(on.sh(APT_LOG))
    ]
    pairs = zip(moments[::2], moments[1::2], strict=False)
    return sum((end - start).total_seconds() for (_, start), (_, end) in pairs)


def restore(
    way: Reach,
    data_set: DataSet,
    chosen: Chosen,
    deadline: Deadline,
    hear: Say,
    progress: Tell,
    snapshot: str = "",
    state: str = "",
) -> None:
    """Restores beside the data, as often as it takes, and puts it in its place. Raises StepFailed.

    snapshot: its id, where it is another one there; state: where the agent writes its ledger, if not as always.
    """
    recovery = custody.recovery(data_set.plan)
    beside = f"{recovery.root}/.restored"
    words = [*(["--state", state] if state else []), "restore", data_set.plan, "--to", beside]
    words += ["--snapshot", snapshot or chosen.snapshot.id, "--json"]
    given = b""
    if not chosen.is_whole:
        words += ["--include-from", "-"]
        given = "".join(f"{path}\n" for path in chosen.named).encode(errors="surrogateescape")
    for attempt in range(1, ATTEMPTS + 1):
        again = ["--resume"] if attempt > 1 else []
        code, said = _agent(way.agent(data_set.host, *words, *again), given, deadline, progress)
        if code == 0:
            break
        why = said[-1] if said else f"ended with {code}"
        if code == SSH_FAILED or attempt == ATTEMPTS:
            raise StepFailed(f"the restore on {data_set.host} failed: {why}", "\n".join(said))
        hear(f"the restore was cut, and goes on: {why}")
        time.sleep(min(AGAIN_S, deadline.left()))
    halts = [f"systemctl stop {shlex.join(recovery.halts)}"] if recovery.halts else []
    moves = [_into_place(recovery.root, beside, path) for path in recovery.paths]
    gone = shlex.join([beside, *(f"{recovery.root}/{path}" for path in recovery.remade)])
    as_root(way, data_set.host, "\n".join([*halts, *moves, f"rm -rf {gone}"]), deadline.left())


def as_root(way: Reach, host: str, script: str, timeout_s: float) -> str:
    """What a script as root says. Raises Unreachable with its words when it fails."""
    words = way.admin(host, "sudo", "-n", "sh", "-es")
    return answer(words, host, timeout_s, script.encode()).stdout.decode(errors="replace")


def _into_place(root: str, beside: str, path: str) -> str:
    """What was restored takes the place of what a deploy made; "." is everything below root."""
    if path == ".":
        return f"cp -al {shlex.quote(beside)}/. {shlex.quote(root)}/"
    old, new = shlex.quote(f"{root}/{path}"), shlex.quote(f"{beside}/{path}")
    return f'if test -e {new}; then rm -rf {old}; mkdir -p "$(dirname {old})"; mv {new} {old}; fi'


def _agent(words: Sequence[str], given: bytes, deadline: Deadline, progress: Tell) -> tuple[int, list[str]]:
    """Runs the agent there; returns its exit code and what it said, but for its progress."""
    said: list[str] = []
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        assert running.stdin
        assert running.stdout
        late = threading.Timer(deadline.left(), running.kill)
        late.start()
        try:
            with suppress(BrokenPipeError):  # why it did not listen, it says
                running.stdin.write(given)
                running.stdin.close()
            for line in running.stdout:
                _hear(line.decode(errors="replace").rstrip(), said, progress)
        finally:
            late.cancel()
            if running.poll() is None:
                running.terminate()
    deadline.left()
    return running.returncode, said


def _hear(line: str, said: list[str], progress: Tell) -> None:
    try:
        told = json.loads(line)
        kind = told["kind"]
    except (ValueError, KeyError, TypeError):
        said.append(line)
        return
    if kind == "progress":
        progress(told["fraction"], f"{told['fraction']:.0%}, {size(told['bytes'])}")
    elif kind == "note":
        said.append(told["text"])
    elif error := told.get("entry", {}).get("error"):
        said.append(error)


def start(site: LoadedSite, on: OnHost, deadline: Deadline) -> None:
    """The deploy once more, which puts owners and services right; nothing may have failed. Raises StepFailed."""
    deploy(site, deadline)
    failed = on.sh("systemctl --failed --plain --no-legend").strip()
    if failed:
        units = ", ".join(line.split()[0] for line in failed.splitlines())
        raise StepFailed(
            f"failed on {on.host}: {units}", on.sh(f"journalctl -n 60 --no-pager -u {units.split(', ')[0]}")
        )


def newest_restored(on: OnHost) -> datetime | None:
    """The newest change of a file that came back."""
    paths = " ".join(shlex.quote(path) for path in custody.recovery(on.data_set.plan).paths)
    found = on.sh(f"cd {shlex.quote(on.root)} && find {paths} -type f -printf '%T@\\n' | sort -n | tail -n 1").strip()
    return EPOCH + timedelta(microseconds=printed(found)) if found else None


def versions(on: OnHost) -> dict[str, str]:
    """Of what was at work on the host."""
    return dict(line.split(" ", 1) for line in on.sh(VERSIONS).splitlines() if " " in line)


def check(one: Check, on: OnHost, deadline: Deadline) -> CheckRun:
    """Runs a check to its end, or to the end of its patience: the others still have their turn."""
    found: list[CheckRun] = []
    limit = min(one.limit_s, deadline.left())
    begun = time.monotonic()
    thread = threading.Thread(target=lambda: found.append(_checked(one, on)), daemon=True)
    thread.start()
    thread.join(limit)
    seconds = round(time.monotonic() - begun, 2)
    if not found:
        told = (f"it did not end within {limit:.0f} s",)
        return _check_run(one, "timed out", told).model_copy(update={"seconds": seconds})
    return found[0].model_copy(update={"seconds": seconds})


def _checked(one: Check, on: OnHost) -> CheckRun:
    try:
        seen = one.run(on)
    except CheckFailed as error:
        more = len(error.found) - EVIDENCE_AT_MOST
        shown = error.found[:EVIDENCE_AT_MOST]
        return _check_run(one, "failed", (*shown, f"and {more} more") if more > 0 else shown)
    except NotJudged as error:
        return _check_run(one, "not judged", (str(error),))
    except Exception as error:
        return _check_run(one, "failed", (f"{ITSELF}{type(error).__name__}: {error}",))
    run = _check_run(one, "passed", seen.told)
    return run.model_copy(update={"covered": seen.covered, "of": seen.of, "within": seen.within})


def _check_run(one: Check, outcome: str, evidence: Sequence[str]) -> CheckRun:
    return CheckRun(
        name=one.name,
        proves=one.proves,
        compares=one.compares,
        outcome=outcome,  # type: ignore[arg-type]
        seconds=0,
        evidence=tuple(evidence),
    )


@contextmanager
def on_host(
    production: LoadedSite, site: LoadedSite, data_set: DataSet, chosen: Chosen, turn: int, scratch: Path
) -> Iterator[OnHost]:
    """The copy on its host, while it can be reached."""
    with reach(site) as way, held(way, data_set.host):
        yield OnHost(production, way, data_set, chosen, turn, scratch)


def told(chosen: Chosen) -> str:
    """What is restored, in words."""
    of = "" if chosen.is_whole else f" of {size(sum(file.size for file in chosen.saved))}"
    files = counted(sum(file.type != "dir" for file in chosen.wanted), "file")
    snapshot = chosen.snapshot
    return f"snapshot {snapshot.original[:8]} of {snapshot.time:%Y-%m-%d %H:%M} UTC, {files}, {size(chosen.bytes)}{of}"
