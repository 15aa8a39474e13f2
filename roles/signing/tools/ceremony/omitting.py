"""What must not stand in a transcript, and the mark in its place: secrets by their looks, and those that it was told.

Lines wait until it is known that none of them begins something that the next one ends; so pieces make no difference.
What has no looks (a password that nobody told of, base64 without its frame) is not known for what it is.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from shamir_mnemonic.wordlist import WORDLIST

SHARE_WORDS, FEW_WORDS = frozenset(WORDLIST), 5
"""So many words of shares in a row are of a share; prose rarely has three."""
FEW_DIGITS, GIT_DIGITS = 32, 40
"""Hexadecimal: a wrap key has 32, 48 or 64 digits. What git calls its commits has 40 in one piece."""
FEW_TO_GO_ON = 16
"""Digits at the end of a line that may go on in the next one."""
MOST_LINES = 2000
"""That wait for what ends them."""
SHORTEST = 4
"""Characters of what is left out because it was told: of a shorter one every other line would be marked."""
PUBLIC = frozenset({"password"})
"""The factory's; it stands in every manual."""
DIGITS = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]+(?:[ :][0-9A-Fa-f]+)*(?![0-9A-Za-z])|[0-9A-Fa-f]{32,}", re.ASCII
)
DIGEST = re.compile(r"SHA-?256\b[^\n]*\Z")
"""What stands before digits that are to be read aloud, in their line."""
GAP = re.compile(r"[\s\d.,:;()|-]*")
BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")
BODY = re.compile(r"[\s>|]*([A-Za-z0-9+/=]{0,76}|[A-Za-z-]+: .*)\s*")
SHAPES = {
    "an age key": re.compile(r"AGE-SECRET-KEY-[0-9A-Z-]+", re.IGNORECASE),
    "a share": re.compile(r"(?<![\w-])\d{1,2}-\d{1,2}-[A-Za-z0-9+/]{40,}={0,2}"),  # as yubihsm-setup writes them
    "a password": re.compile(
        r"(?:--(?:new-)?(?:password|passphrase|pin|so-pin)[= ]|pin-value=|session open \S+ |"
        r"\byubihsm-(?:shell|wrap|setup)\b[^\n]*?\s-p ?)(?!file:|file=|-)(?P<it>'[^'\n]*'|\"[^\"\n]*\"|[^\s;&]+)"
    ),
}


class Span(NamedTuple):
    """Of a text. open: it reaches the end, and what comes may belong to it; `what` is empty where it is none yet."""

    start: int
    end: int
    what: str
    open: bool = False


class Line(NamedTuple):
    when: datetime
    text: str


class Omitting:
    """left_out: how many things, so far."""

    def __init__(self) -> None:
        self.left_out = 0
        self._known: set[str] = set()
        self._held: list[Line] = []

    def told(self, secret: str) -> None:
        """Is left out from now on, and in what waits."""
        if len(secret) >= SHORTEST and secret not in PUBLIC:
            self._known.add(secret)

    def line(self, one: Line) -> list[Line]:
        """What may be written now."""
        self._held.append(one)
        text = "\n".join(line.text for line in self._held)
        waits = min((span.start for span in spans(text, self._known) if span.open), default=len(text) + 1)
        ready = text.count("\n", 0, waits) if waits <= len(text) else len(self._held)
        return self._written(ready if len(self._held) < MOST_LINES else len(self._held))

    def end(self) -> list[Line]:
        """All that waits, when nothing more comes."""
        return self._written(len(self._held))

    def _written(self, ready: int) -> list[Line]:
        lines, self._held = self._held[:ready], self._held[ready:]
        if not lines:
            return []
        text = "\n".join(line.text for line in lines)
        found, at, number = [lines[0]._replace(text="")], 0, 0
        for span in (*_merged(spans(text, self._known)), Span(len(text), len(text), "")):
            first, *others = text[at : span.start].split("\n")
            found[-1] = found[-1]._replace(text=found[-1].text + first)
            for other in others:
                number += 1
                found.append(lines[number]._replace(text=other))
            if span.what:
                found[-1] = found[-1]._replace(text=f"{found[-1].text}[left out: {span.what}]")
                self.left_out += 1
            number += text.count("\n", span.start, span.end)
            at = span.end
        return found


def spans(text: str, known: set[str]) -> Iterator[Span]:
    """What is to be left out, and what might become so."""
    for secret in known:
        for found in re.finditer(re.escape(secret), text):
            yield Span(*found.span(), "a password")
    for what, shape in SHAPES.items():
        for found in shape.finditer(text):
            yield Span(*found.span("it" if "it" in shape.groupindex else 0), what)
    yield from _private_keys(text)
    yield from _words(text)
    yield from _digits(text, known)


def _private_keys(text: str) -> Iterator[Span]:
    """From the first line of a PEM to its last one, or to what cannot be in it."""
    at = 0
    while begin := BEGIN.search(text, at):
        end = END.search(text, begin.end())
        stop = text.find("\n", begin.end())
        stop = len(text) if stop < 0 else stop
        while stop < len(text) and (end is None or end.start() > stop):
            following = text.find("\n", stop + 1)
            following = len(text) if following < 0 else following
            if not BODY.fullmatch(text, stop + 1, following) and not (end and end.start() < following):
                break
            stop = following
        done = end is not None and end.start() <= stop
        stop = end.end() if end and done else stop
        yield Span(begin.start(), stop, "a private key", not done and stop == len(text))
        at = stop


def _words(text: str) -> Iterator[Span]:
    """Runs of words of shares, over lines and numbers between them."""
    run: list[re.Match[str]] = []
    for word in re.finditer(r"[^\W\d_]+", text):
        if word[0].lower() not in SHARE_WORDS:
            yield from _run(run, text)
            run = []
            continue
        if run and not GAP.fullmatch(text, run[-1].end(), word.start()):
            yield from _run(run, text)
            run = []
        run.append(word)
    yield from _run(run, text)


def _run(run: list[re.Match[str]], text: str) -> Iterator[Span]:
    if run:
        reaches = GAP.fullmatch(text, run[-1].end()) is not None
        if reaches or len(run) >= FEW_WORDS:
            what = "a share" if len(run) >= FEW_WORDS else ""
            yield Span(run[0].start(), run[-1].end(), what, reaches)


def _digits(text: str, known: set[str]) -> Iterator[Span]:
    """Runs of hexadecimal digits, in groups or not, over a line's end where enough stand before it."""
    runs: list[tuple[int, int]] = []
    for found in DIGITS.finditer(text):
        before = runs[-1] if runs else None
        if (
            before
            and _count(text, *before) >= FEW_TO_GO_ON
            and re.fullmatch(r" *\n *", text[before[1] : found.start()])
        ):
            runs[-1] = before[0], found.end()
        else:
            runs.append(found.span())
    for start, end in runs:
        digits, count = text[start:end], _count(text, start, end)
        joined = re.sub(r"[\s:]", "", digits).lower()
        secret = any(len(one) >= FEW_DIGITS and one.lower() in joined for one in known)
        named = DIGEST.search(text, 0, start) or re.fullmatch(rf"[0-9A-Fa-f]{{{GIT_DIGITS}}}", digits)
        what = "digits" if secret or (count >= FEW_DIGITS and not named) else ""
        reaches = count >= FEW_TO_GO_ON and not text[end:].strip(" ")
        if what or reaches:
            yield Span(start, end, what, reaches)


def _count(text: str, start: int, end: int) -> int:
    return sum(one in "0123456789abcdefABCDEF" for one in text[start:end].removeprefix("0x"))


def _merged(found: Iterator[Span]) -> list[Span]:
    """Those that are left out, in order, none of which overlap."""
    merged: list[Span] = []
    for span in sorted(one for one in found if one.what):
        if merged and span.start < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
