"""Tells people when something begins to be wrong, when it hits more, and when it ends; and nothing in between.

Each channel has its own memory of what it was told: one that could not be reached is told at the next look. A message
may come twice (a kill between sending and noting it), never not at all.
"""

import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from backup.data_set import Finding
from backup.data_set import key as key_of
from backup.sizes import clean, counted
from inventories.files import replace

TIMEOUT_S = 10
MAIL_TIMEOUT_S = 60
PING_BODY_AT_MOST = 10_000
"""Bytes that any server of healthchecks keeps of a ping."""

Known = dict[str, dict[str, str]]
"""Findings that a channel was told of, by a key, as `_facts` says them; those of an older version have no `each`."""


class NotTold(Exception):
    """A channel did not take a message. Addresses are secrets: only the host is named."""


@dataclass(frozen=True)
class Channels:
    """Where to tell; an empty one is left out."""

    webhook: str = ""
    """A URL that takes a POST of JSON."""
    mail: str = ""
    """An address that the local sendmail delivers to."""
    site: str = "mainstay"
    """What the site is called, in subjects."""
    sendmail: str = "/usr/sbin/sendmail"


@dataclass(frozen=True)
class Change:
    """What has begun to be wrong since a channel was last told, and what has ended."""

    began: tuple[dict[str, str], ...]
    ended: tuple[dict[str, str], ...]
    left: int
    """How many findings there are now."""

    def __bool__(self) -> bool:
        return bool(self.began or self.ended)

    @property
    def subject(self) -> str:
        """A line."""
        first, *more = self.began or self.ended
        word = "" if self.began else "over: "
        return f"{word}{first['data_set']}: {first['kind']}" + (f" and {len(more)} more" if more else "")

    @property
    def text(self) -> str:
        """All of it, for people."""
        lines = [f"{one['kind']}: {one['data_set']}: {one['what']}\n  {one['to_do']}" for one in self.began]
        lines += [f"over: {one['kind']}: {one['data_set']}, since {one['since']}" for one in self.ended]
        lines.append(
            f"{counted(self.left, 'finding')} in all: mainstay backup status" if self.left else "All is well again."
        )
        return "\n".join(lines) + "\n"


def tell(
    found: Sequence[Finding], channels: Channels, state: Path, now: datetime, unseen: Collection[str] = ()
) -> list[str]:
    """Tells each channel what changed since it was last told. Returns what could not be told, and why.

    unseen: what could not be looked at, of which nothing is told to be over: data sets, or the words that the keys of
    some of their findings begin with. A folder that nothing can be written to keeps nobody from being told, though
    perhaps twice.
    """
    problems = []
    with _alone(state):
        told = _read(state)
        for name, send in _senders(channels, now):
            before = _renamed(told.get(name, {}), found)
            begins = tuple(f"{one} " for one in unseen)
            left = {key: facts for key, facts in before.items() if f"{key} ".startswith(begins)}
            current = left | _facts(found, before, now)
            if current == told.get(name, {}):
                continue
            try:
                if change := changes(before, current):
                    send(change)
            except NotTold as error:
                problems.append(f"{name}: {error}; it is told at the next look")
                continue
            told[name] = current
            try:
                replace(state, json.dumps(told, sort_keys=True, indent=1) + "\n", 0o600)
            except OSError as error:
                problems.append(f"{name}: was told, and it cannot be noted: {state}: {error.strerror}")
    return problems


def changes(before: Known, current: Known) -> Change:
    """What is new, the worst first as it was found, and what is no more."""
    return Change(
        began=tuple(
            _shown(facts) for key, facts in current.items() if _is_news(facts.get("each", ""), before.get(key))
        ),
        ended=tuple(_shown(one) for key, one in before.items() if key not in current),
        left=len(current),
    )


def _is_news(each: str, told: dict[str, str] | None) -> bool:
    """Whether a finding was not told, or hits what was not told of it."""
    return told is None or ("each" in told and not set(each.split()) <= set(told["each"].split()))


def _shown(facts: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if name != "each"}


def ping(url: str, signal: Literal["start", "ok", "fail"], words: str = "") -> None:
    """Tells a dead man's switch (healthchecks: URL/start, URL, URL/fail) that work began, ended well or failed."""
    address = _split(url)
    path = address.path.rstrip("/") + {"start": "/start", "ok": "", "fail": "/fail"}[signal]
    body = words.encode("utf-8", "backslashreplace")[:PING_BODY_AT_MOST]
    _post(urlunsplit(address._replace(path=path)), data=body)


@contextmanager
def watched(url: str, problem: Callable[[str], None]) -> Iterator[None]:
    """Has work watched by a dead man's switch (none if url is empty). That it cannot be reached stops no work."""

    def say(signal: Literal["start", "ok", "fail"], words: str = "") -> None:
        try:
            ping(url, signal, words)
        except NotTold as error:
            problem(f"dead man's switch: {error}")

    if not url:
        yield
        return
    say("start")
    try:
        yield
    except BaseException as error:
        say("fail", clean(str(error)) or type(error).__name__)
        raise
    say("ok")


def _senders(channels: Channels, now: datetime) -> list[tuple[str, Callable[[Change], None]]]:
    senders: list[tuple[str, Callable[[Change], None]]] = []
    if channels.webhook:
        senders.append(("webhook", lambda change: _post(channels.webhook, json=_payload(change, channels, now))))
    if channels.mail:
        senders.append(("mail", lambda change: mail(channels, change.subject, change.text)))
    return senders


def _payload(change: Change, channels: Channels, now: datetime) -> dict[str, Any]:
    """`text` is what chat servers show; the rest is for programs."""
    return {
        "site": channels.site,
        "time": now.isoformat(),
        "state": "failing" if change.left else "ok",
        "began": list(change.began),
        "ended": list(change.ended),
        "text": f"{channels.site}: {change.text}",
    }


def mail(channels: Channels, subject: str, text: str) -> None:
    """Sends plain text to the administrators by this machine's sendmail. Raises NotTold."""
    message = EmailMessage()
    message["To"] = channels.mail
    message["Subject"] = f"[{channels.site}] {subject}"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    command = [channels.sendmail, "-i", "-t"]
    try:
        done = subprocess.run(
            command, input=message.as_bytes(), capture_output=True, timeout=MAIL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotTold(f"{channels.sendmail}: {type(error).__name__}") from None
    if done.returncode:
        said = clean(done.stderr.decode("utf-8", "backslashreplace").strip())
        raise NotTold(f"{channels.sendmail} exited {done.returncode}: {said}")


def _post(url: str, **content: Any) -> None:
    """POSTs, again after a passing failure. A redirection is an error: it would leave the content behind.

    Raises NotTold, also for what is no address.
    """
    retry = Retry(
        total=2,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    address = _split(url)
    host = address.hostname
    try:
        with requests.Session() as session:
            session.mount(f"{address.scheme}://", HTTPAdapter(max_retries=retry))
            answer = session.post(url, timeout=TIMEOUT_S, allow_redirects=False, **content)
    except (requests.RequestException, ValueError) as error:
        raise NotTold(f"{host} did not answer ({type(error).__name__})") from None
    if not answer.ok or answer.is_redirect:
        raise NotTold(f"{host} answered {answer.status_code}")


def _split(url: str) -> SplitResult:
    """Raises NotTold."""
    try:
        return urlsplit(url)
    except ValueError:
        raise NotTold("what is entered as its address is none") from None


def _facts(found: Sequence[Finding], before: Known, now: datetime) -> Known:
    """What is to be known by a channel afterwards: of what is no news, the words that it was told."""
    facts: Known = {}
    for one in found:
        each = " ".join(one.subject.each)
        told = before.get(one.key)
        if told is None or _is_news(each, told):
            told = {
                "data_set": clean(one.data_set),
                "kind": one.kind.word,
                "severity": one.kind.severity,
                "what": clean(one.what),
                "to_do": clean(one.to_do),
                "since": (told or {}).get("since", now.isoformat(timespec="seconds")),
            }
        facts.setdefault(one.key, told | {"each": each})
    return facts


def _renamed(told: Known, found: Sequence[Finding]) -> Known:
    """With a place, where an older version told the first of a kind, and nothing of any other."""
    renamed = dict(told)
    first = {key_of(one.data_set, one.kind): one.key for one in reversed(found)}
    for plain, placed in first.items():
        if "each" not in renamed.get(plain, {"each": ""}):
            renamed[placed] = renamed.pop(plain)
    return renamed


def _read(state: Path) -> dict[str, Known]:
    """What was told; nothing, if that is not known: then all is told again."""
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(state.read_text())
        if isinstance(told, dict) and all(isinstance(known, dict) for known in told.values()):
            return told
    return {}


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One at a time, where there can be a lock."""
    with ExitStack() as stack:
        with contextlib.suppress(OSError):
            state.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(state.with_name(f"{state.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
