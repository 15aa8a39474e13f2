"""The command `backup.pyz`: arguments in, exit codes out.

Exit codes: 0 ok, 1 failed, 2 bad input, 3 incomplete (saved, some files unread), 4 another run is at it,
130 interrupted. `status`: 1 when a plan is late, or cannot be told of.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from backup import ledger
from backup.agent import consistency, interrupts
from backup.agent import plan as plans
from backup.agent.answering import answer
from backup.agent.attempt import BAD_INPUT, BUSY, CODES, EXPECTED, FAILED, INTERRUPTED, OK, BadInput, Job
from backup.agent.plan import RESTORE, PlanError
from backup.agent.restoring import Wish, restore
from backup.agent.saving import save
from backup.agent.state import Busy, State
from backup.agent.status import lines, status
from backup.agent.telling import Telling, clean
from backup.agent.verifying import verify
from backup.agent.watching import GIVE_UP_S, RESTORE_GIVE_UP_S

PLANS = Path("/etc/mainstay/backup")
STATE = Path("/var/lib/mainstay/backup")


def main(agent: str, words: Sequence[str] | None = None) -> int:
    """Does what the command line says. agent is this program's version."""
    asked = _parser().parse_args(words)
    interrupts.listen()
    try:
        return _do(asked, agent)
    except (PlanError, BadInput) as error:
        return _said(BAD_INPUT, str(error))
    except Busy:
        return _said(BUSY, f"{asked.plan}: another run is at it")
    except KeyboardInterrupt:
        return _said(INTERRUPTED, "interrupted")
    except EXPECTED as error:
        return _said(FAILED, str(error))


def _said(code: int, text: str) -> int:
    print(f"backup: {clean(text)}", file=sys.stderr)
    return code


def _do(asked: argparse.Namespace, agent: str) -> int:
    if asked.command == "status":
        told = status(asked.plans, asked.state, datetime.now(UTC))
        _print(json.dumps(told, indent=2) if asked.json else "\n".join(lines(told)) or "no plans on this host")
        return FAILED if any("error" in one or one["late"] for one in told) else OK
    if asked.command == "answer":
        return _lines(answer(os.environ.get("SSH_ORIGINAL_COMMAND", ""), asked.state))
    plan = plans.load(asked.plans, asked.plan)
    if plan.may == RESTORE and asked.command in ("run", "verify"):
        raise BadInput(f"{plan.name}: {asked.command}: this plan can only restore; nothing of this host is ever saved")
    job = Job.of(plan, State(asked.state / plan.name), agent)
    if asked.command == "ledger":
        return _lines(ledger.lines(job.state.ledger, asked.after))
    if asked.command == "check":
        return OK
    if asked.command == "key":
        with job.state.locked():
            print(next(key for key, current in job.restic.keys().items() if current))
        return OK
    telling = Telling(asked.json)
    if asked.command == "settle":
        # Where another run is at it, that one has settled everything when it began.
        with suppress(Busy), job.state.locked():
            for left in consistency.settle(plan, job.state):
                telling.note(left)
        return OK
    if asked.command == "run":
        entry = save(job, telling.progress if telling.is_watched else None, telling.note, asked.give_up)
    elif asked.command == "verify":
        entry = verify(job)
    else:
        exact = _paths(asked.include_from) if asked.include_from else []
        wish = Wish(asked.to, asked.snapshot, asked.include, exact, asked.resume)
        entry, notes = restore(job, wish, telling.progress, asked.give_up)
        for text in notes:
            telling.note(text)
    telling.end(entry)
    return CODES[entry.outcome]


def _paths(file: str) -> list[str]:
    """The lines of a file, or of standard input. Raises BadInput where there is none, which would be all."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if not content:
        raise BadInput(f"--include-from {file}: names nothing")
    return [os.fsdecode(line) for line in content.removesuffix(b"\n").split(b"\n")]


def _lines(found: Sequence[bytes]) -> int:
    for line in found:
        sys.stdout.buffer.write(line + b"\n")
    return OK


def _print(text: str) -> None:
    sys.stdout.write(clean(text) + "\n")


def _parser() -> argparse.ArgumentParser:
    epilog = (__doc__ or "").partition("\n\n")[2]
    parser = argparse.ArgumentParser("backup.pyz", description="Saves this host's data.", epilog=epilog)
    parser.add_argument("--plans", type=Path, default=PLANS, help=f"folder of the plans (default {PLANS})")
    parser.add_argument("--state", type=Path, default=STATE, help=f"folder of ledgers and caches (default {STATE})")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "a backup now"),
        ("verify", "compare the data with the newest snapshot"),
        ("restore", "put a snapshot into a folder"),
        ("check", "look whether a plan file is right, and do nothing"),
        ("settle", "put back what a killed run left (the unit does it by itself)"),
        ("ledger", "print what was done, as JSON lines"),
        ("key", "print the id of the key that the plan's password opens the repository with, when no run is at it"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("plan", metavar="PLAN")
        if name == "ledger":
            one.add_argument("--after", type=_count, default=0, metavar="SEQ", help="only lines beyond this one")
        elif name not in ("check", "key"):
            one.add_argument("--json", action="store_true", help="one JSON object a line")
        if name in ("run", "restore"):
            told = "how long nothing may move while the vault does not answer (default %(default)s)"
            patience = GIVE_UP_S if name == "run" else RESTORE_GIVE_UP_S
            one.add_argument("--give-up", type=float, default=patience, metavar="SECONDS", help=told)
        if name == "restore":
            one.add_argument("--to", type=Path, required=True, metavar="DIR", help="empty, or not there yet")
            one.add_argument("--snapshot", default="", metavar="ID", help="default: the newest")
            one.add_argument("--include", action="append", default=[], metavar="PATH", help="only this; repeatable")
            told = "only the paths in its lines, exactly, each of which has to be there; - is standard input"
            one.add_argument("--include-from", default="", metavar="FILE", help=told)
            told = "go on with a restore of this --snapshot that was broken off, in the same folder"
            one.add_argument("--resume", action="store_true", help=told)
    commands.add_parser("answer", help="for the control host, by its key: what it may ask, nothing else")
    one = commands.add_parser("status", help="all plans of this host")
    one.add_argument("--json", action="store_true")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a line's number")
    return int(text)


def end(code: int) -> None:
    """Ends the process, also when nobody reads its output any more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
