"""The deploy of a host, planned and not run: what its operations ask the host, and what they make of the answers.

Operations are the deploys' own, so that a look and a deploy cannot disagree about what is declared. They are planned
twice: first every question is taken down and none is answered, which is how an operation meets a host that could not be
asked; then, with all answers, each says what it would change. What it yields is dropped.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.config import Config
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from drift.findings import UNSEEN, Finding
from inventories.inventory import CLONE, LoadedSite, host_data
from roles.common.declared import declared
from roles.common.facts import Look, TreeContents
from roles.common.operations import Refuse

DEPLOY = CLONE / "deploys/site.py"
OLD, NEW = " (on the host)", " (wanted)"


@dataclass(frozen=True)
class Question:
    """A command for the shell of a host, and what it is given."""

    command: str
    stdin: str


class Planned:
    """One host's deploy."""

    def __init__(self, site: LoadedSite, name: str) -> None:
        """Raises InputError, as the deploy would."""
        self.name = name
        self._answers: dict[Question, list[str]] = {}
        self._asked: dict[Question, tuple[type[Look], Mapping[str, Any]]] = {}
        self._kind = ""
        self._heard: list[str] = []
        self._unseen: list[str] = []
        inventory = Inventory(([(name, host_data(site, name))], {}))  # type: ignore[no-untyped-call]
        self._state = State(inventory, Config(DIFF=True))  # type: ignore[no-untyped-call]
        self._host: Host = next(iter(self._state.inventory))
        vars(self._host).update(get_fact=self._answer, log=self._hear, log_styled=self._hear)
        with self._current():
            exec(_code(DEPLOY), {"__file__": str(DEPLOY)})  # noqa: S102  # as pyinfra does with a deploy

    @property
    def open(self) -> list[Question]:
        """Questions that have no answer yet."""
        return [question for question in self._asked if question not in self._answers]

    def questions(self) -> dict[str, object]:
        """These, as on_host/look.py is told."""
        return {"looks": [(question.command, question.stdin) for question in self.open]}

    def take(self, said: Sequence[str]) -> list[Finding]:
        """What differs, by the answers to the open questions, in their order."""
        self._answers |= {
            question: one.removesuffix("\n").split("\n") if one else []
            for question, one in zip(self.open, said, strict=True)
        }
        return [*self._differences()]

    def declared(self) -> dict[str, list[str]]:
        """What the operations have asked about: what is declared, by the words of on_host/look.py."""
        return declared((look, question.stdin, words) for question, (look, words) in self._asked.items())

    def _differences(self) -> Iterator[Finding]:
        """What the deploy would change, by the answers that there are."""
        self._state.is_executing = True
        for key, operation in self._state.ops[self._host].items():
            (declared,) = self._state.op_meta[key].names
            self._heard, self._unseen, self._kind = [], [], ""
            with self._current(), _listening(self._heard):
                commands = [*operation.command_generator()]
            yield from self._told(declared, commands)

    def _told(self, declared: str, commands: Iterable[PyinfraCommand]) -> Iterator[Finding]:
        """What was heard of one operation; of one that was silent, what it would run."""
        lines = _by_path(self._heard)
        words = [line.strip() for line in self._heard if not line.startswith("   ")]
        for command in commands:
            if isinstance(command, Refuse):
                words += command.problems
            elif not words:
                words = [f"{declared.rpartition(' | ')[2]}: a deploy would run {command}"]
        for unseen in self._unseen:
            yield Finding(self.name, UNSEEN, declared, f"{unseen} says nothing")
        for word in words:
            what, _, why = word.partition(": ")
            shown = () if why.startswith("new file") else tuple(lines.get(what, ()))
            yield Finding(self.name, self._kind, what, why, lines=shown, declared=declared)

    def _answer(self, look: type[Look], *words: Any, **named: Any) -> Any:
        """In the place of Host.get_fact."""
        stdin = named.pop("_stdin", "")
        question = Question(str(look().command(*words, **named)), f"{stdin}\n" if stdin else "")
        self._asked[question] = (look, named)
        if not issubclass(look, TreeContents):
            self._kind = look.kind
        if question not in self._answers:
            return None
        answer = look().process(self._answers[question])
        if answer is None:
            self._unseen.append(look.__name__)
        return answer

    def _hear(self, message: str, **_: Any) -> None:
        """In the place of Host.log."""
        self._heard.append(message)

    @contextmanager
    def _current(self) -> Iterator[None]:
        with ctx_state.use(self._state), ctx_host.use(self._host):
            yield


@cache
def _code(deploy: Path) -> CodeType:
    return compile(deploy.read_text(), str(deploy), "exec")


@contextmanager
def _listening(heard: list[str]) -> Iterator[None]:
    """Takes what operations show by pyinfra's own log, which are differences of files."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    listener, level = Listener(), logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


def _by_path(heard: Iterable[str]) -> dict[str, list[str]]:
    """Unified diffs by the file that they are of; their headers go, as a finding names the file."""
    found: dict[str, list[str]] = {}
    path = ""
    for line in (line.removeprefix("    ") for line in heard if line.startswith("    ")):
        if line.startswith("--- ") and line.endswith(OLD):
            path = line.removeprefix("--- ").removesuffix(OLD)
        elif not (line.startswith("+++ ") and line.endswith(NEW)):
            found.setdefault(path or line.partition(": ")[0], []).append(line)
    return found
