"""A checklist as text for a printer: 80 columns, boxes to tick, room for times and names. ASCII, for any printer."""

import textwrap
from collections.abc import Iterator

from roles.signing.tools.ceremony.checklist import Checklist, Step
from roles.signing.tools.ceremony.fingerprints import aloud

WIDTH, INDENT = 80, " " * 8
PROMPT, MORE = "$ ", "> "
"""Before a command, and before each line that goes on with it: a command that is longer than a line ends it with a
backslash, which a shell understands."""
BLANK = "____"


def text(made: Checklist) -> str:
    """All of it."""
    return "\n".join(_lines(made)) + "\n"


def _lines(made: Checklist) -> Iterator[str]:
    yield f"CHECKLIST {made.kind}"
    yield from _wrapped(made.title, "")
    yield ""
    yield from _wrapped(f"Devices: {', '.join(made.devices)}", "")
    yield from _wrapped(f"Made from {made.declared}", "")
    yield from aloud(made.digest)
    yield ""
    yield "Date ____________________   Begun (UTC) __________   Ended (UTC) __________"
    yield ""
    for one in made.people:
        yield from _wrapped(f"{one[:1].upper()}{one[1:]}", "")
        yield "    Name ____________________________   Signature ____________________________"
        yield ""
    for number, step in enumerate(made.steps, 1):
        yield "-" * WIDTH
        yield from _step(number, step)


def _step(number: int, step: Step) -> Iterator[str]:
    who = f"{number:2}. [ ]  {step.who}"
    if len(who) <= WIDTH - 16:
        yield f"{who:{WIDTH - 16}}at (UTC) _______"
    else:
        yield f"{number:2}. [ ]{'':{WIDTH - 23}}at (UTC) _______"
        yield from _wrapped(step.who, INDENT)
    yield from _wrapped(step.what, INDENT)
    for command in step.commands:
        yield ""
        yield from _command(command)
    if step.expect:
        yield ""
        yield f"{INDENT}It shows, among other things:"
        for one in step.expect:
            yield from _wrapped(f"[ ] {one}", f"{INDENT}  ", f"{INDENT}      ")
    for about, digest in step.aloud.items():
        yield ""
        yield from _wrapped(f"[ ] {about}", INDENT, f"{INDENT}    ")
        yield from (f"{INDENT}  {line}" for line in aloud(digest))
    for one in step.note:
        yield ""
        yield f"{INDENT}{one}: ".ljust(WIDTH - 8, "_")


def _command(command: str) -> Iterator[str]:
    """Broken between words alone."""
    room = WIDTH - len(INDENT) - len(PROMPT) - 2
    lines = textwrap.wrap(command, room, break_long_words=False, break_on_hyphens=False)
    for at, line in enumerate(lines):
        yield f"{INDENT}{MORE if at else PROMPT}{line}{' ' + chr(92) if at + 1 < len(lines) else ''}"


def _wrapped(words: str, first: str, others: str | None = None) -> Iterator[str]:
    rest = first if others is None else others
    yield from textwrap.wrap(words, WIDTH, break_on_hyphens=False, initial_indent=first, subsequent_indent=rest)
