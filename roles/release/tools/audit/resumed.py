"""What phones are answered that go on with a download: of one package an audit, by each address of a server. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from roles.release.tools.audit.client import Answer, Ask
from roles.release.tools.audit.findings import Finding, Kind, finding
from roles.release.tools.audit.truth import Need, Truth

FIRST, LAST = 7, 20
"""Bytes that are asked for."""
BEYOND = 1 << 50
"""More bytes than any package has."""
AT_MOST = 4 << 10


def sample(truth: Truth, now: datetime) -> str:
    """A package that is offered, another one each time; empty where none is."""
    paths = sorted(path for path, need in truth.needs(truth.offers).items() if not need.is_optional)
    return paths[int(now.timestamp()) % len(paths)] if paths else ""


def asks(path: str) -> list[Ask]:
    """All that is asked of it."""
    return [Ask(path, "HEAD"), _part(path), _beyond(path)] if path else []


def findings(server: str, path: str, needs: Mapping[str, Need], answers: Mapping[Ask, Answer]) -> Iterator[Finding]:
    """Of a package whose length the server tells; what else is wrong with it others tell."""
    head, need = answers.get(Ask(path, "HEAD")), needs.get(path)
    if not head or not need or head.status != 200 or head.length is None or head.length <= LAST:
        return
    for ask, status, expected, size in (
        (_part(path), 206, f"bytes {FIRST}-{LAST}/{head.length}", LAST - FIRST + 1),
        (_beyond(path), 416, f"bytes */{head.length}", None),
    ):
        answer = answers.get(ask)
        if answer is None:
            continue
        said = answer.headers.get("content-range", "")
        if answer.error or (answer.status, said) != (status, expected) or size not in (None, len(answer.body)):
            told = (
                answer.error or f"status {answer.status}, Content-Range {said or 'missing'}, {len(answer.body)} bytes"
            )
            yield finding(server, path, Kind.ANSWER, f"{told} to {ask.range}", f"{status}, {expected}", need.about)


def _part(path: str) -> Ask:
    return Ask(path, range=f"bytes={FIRST}-{LAST}", body_at_most=AT_MOST)


def _beyond(path: str) -> Ask:
    return Ask(path, range=f"bytes={BEYOND}-", body_at_most=AT_MOST)
