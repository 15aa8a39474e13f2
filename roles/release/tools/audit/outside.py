"""What a server is asked, and what its answers say. Pure: asks in, findings out.

Two rounds: channel lines and changelogs first, then the packages that they, or metadata itself, promise.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from roles.release.archive import BASE, FACTORY, PUBLIC, SHA256SUM, Channel, Offer, named_checksum
from roles.release.tools.audit.client import Answer, Ask
from roles.release.tools.audit.findings import Finding, Kind, finding
from roles.release.tools.audit.truth import LINE_AT_MOST, Need, Truth, lines_of, parsed
from roles.release.tools.layout import CHANGELOG

TAIL = 8 << 10
"""Bytes at the end of a package that are fetched: the end of its directory, and the signature of the whole."""
SUM_AT_MOST = 4 << 10
END = b"PK\5\6"
END_BYTES, LARGE = 22, 0xFFFFFFFF
YEAR_S = 365 * 86400
FORBIDDEN = ("set-cookie", "content-encoding")
Answers = Mapping[Ask, Answer]


@dataclass(frozen=True)
class Seen:
    """What a server says of a package."""

    length: int
    etag: str
    modified: str


def line_ask(path: str) -> Ask:
    return Ask(path, body_at_most=LINE_AT_MOST)


def first_round(truth: Truth) -> list[Ask]:
    """Metadata, and what is answered where nothing is."""
    asked = [line_ask(path) for path in truth.lines.values()]
    asked += [Ask(path) for path in truth.changelogs.values()]
    asked += [Ask(path, body_at_most=SUM_AT_MOST) for _, path in _probes(truth)]
    for device in sorted(truth.retired):
        asked += [Ask(path, body_at_most=SUM_AT_MOST) for path in _gone(device)]
    return asked


def served(truth: Truth, answers: Answers) -> dict[tuple[str, str], Offer]:
    """What phones of this server are offered."""
    asked = {key: answers.get(line_ask(path)) for key, path in truth.lines.items()}
    return lines_of({key: answer.body for key, answer in asked.items() if answer and answer.status == 200})


def second_round(needs: Mapping[str, Need]) -> list[Ask]:
    """Packages and their checksums."""
    asked = []
    for path in needs:
        asked += [Ask(path, "HEAD"), Ask(path, range=f"bytes=-{TAIL}", body_at_most=TAIL)]
        asked.append(Ask(f"{path}{SHA256SUM}", body_at_most=SUM_AT_MOST))
    return asked


def metadata_findings(server: str, truth: Truth, answers: Answers) -> Iterator[Finding]:
    """Of the first round."""
    for about, path in truth.lines.items():
        yield from _text(server, path, answers.get(line_ask(path)), about, truth, "text/plain")
    for about, path in truth.changelogs.items():
        yield from _text(server, path, answers.get(Ask(path)), about, truth, "text/html")
    for about, path in _probes(truth):
        answer = answers.get(Ask(path, body_at_most=SUM_AT_MOST))
        if answer and (answer.error or answer.status != 404):
            why = "404, so that phones take the full OTA: there is none"
            yield finding(server, path, Kind.ANSWER, _said(answer), why, about)
    for device in sorted(truth.retired):
        for path in _gone(device):
            answer = answers.get(Ask(path, body_at_most=SUM_AT_MOST))
            if answer and answer.status != 410:
                yield finding(server, path, Kind.RETIRED, _said(answer), "410", (device, ""))


def package_findings(
    server: str, truth: Truth, needs: Mapping[str, Need], answers: Answers, sizes: Mapping[str, int]
) -> Iterator[Finding]:
    """Of the second round. sizes: in bytes, of packages where they are on record."""
    for path, need in needs.items():
        head, tail = answers.get(Ask(path, "HEAD")), answers.get(Ask(path, range=f"bytes=-{TAIL}", body_at_most=TAIL))
        beside = answers.get(Ask(f"{path}{SHA256SUM}", body_at_most=SUM_AT_MOST))
        if head is None:
            continue
        if head.status == 404:
            if not need.is_optional:
                kind = Kind.AHEAD if need.is_promised else Kind.MISSING
                yield finding(server, path, kind, "404", _wanted(need), need.about)
            continue
        yield from _package(server, path, need, head, tail, sizes.get(path))
        if beside:
            yield from _beside(server, f"{path}{SHA256SUM}", beside, truth.sums, need.about)


def seen(needs: Mapping[str, Need], answers: Answers) -> dict[str, Seen]:
    """What can be compared between servers: of the packages that are there."""
    found = {}
    for path in needs:
        head = answers.get(Ask(path, "HEAD"))
        if head and head.status == 200 and head.length is not None:
            found[path] = Seen(head.length, head.headers.get("etag", ""), head.headers.get("last-modified", ""))
    return found


def ends(tail: bytes, size: int) -> bool:
    """Whether a file of that size, of which these are the last bytes, ends as a zip does, with nothing cut off."""
    at = tail.rfind(END)
    while at >= 0:
        end = tail[at : at + END_BYTES]
        if len(end) == END_BYTES:
            length, offset, comment = struct.unpack("<LLH", end[12:])
            before = size - len(tail) + at
            whole = LARGE in (length, offset) or offset + length == before
            if whole and at + END_BYTES + comment == len(tail):
                return True
        at = tail.rfind(END, 0, at)
    return False


def _probes(truth: Truth) -> Iterator[tuple[tuple[str, str], str]]:
    """An incremental that was never released, of each device that phones update."""
    for (device, channel), offer in truth.offers.items():
        if channel not in (FACTORY, BASE):
            path = Channel(device, channel, "").incremental(offer, "0").removeprefix(f"{PUBLIC}/")
            yield (device, channel), path


def _gone(device: str) -> tuple[str, ...]:
    return f"ota/{device}/{device}-stable", f"factory/{device}/"


def _text(
    server: str, path: str, answer: Answer | None, about: tuple[str, str], truth: Truth, media_type: str
) -> Iterator[Finding]:
    if answer is None:
        return
    expected = truth.files[path]
    if answer.status == 404:
        yield finding(server, path, Kind.MISSING, "404", "it, as in the commit of metadata", about)
        return
    if answer.error or answer.status != 200:
        yield finding(server, path, Kind.ANSWER, _said(answer), "200", about)
        return
    wrong = [*_headers(answer), *_typed(answer, media_type)]
    seconds = _max_age(answer)
    if seconds is None or seconds > truth.metadata_seconds or "immutable" in _cached(answer):
        wrong.append(
            (f"Cache-Control {_cached(answer) or 'missing'}", f"max-age of at most {truth.metadata_seconds} s")
        )
    if answer.length != len(answer.body):
        wrong.append(
            (f"Content-Length {answer.headers.get('content-length')}", f"that of its {len(answer.body)} bytes")
        )
    yield from _answers(server, path, wrong, about)
    if answer.body != expected:
        yield content_finding(server, path, answer.body, expected, about, f"as in commit {truth.commit[:10]}")


def content_finding(server: str, path: str, found: bytes, expected: bytes, about: tuple[str, str], why: str) -> Finding:
    """Metadata that is not what it ought to be."""
    if path.endswith(CHANGELOG):
        return finding(server, path, Kind.DIFFERING, f"other {len(found)} bytes", f"{len(expected)}, {why}", about)
    line = f"{expected.decode(errors='backslashreplace').strip()}, {why}"
    try:
        return finding(server, path, Kind.DIFFERING, parsed(found).line.strip(), line, about)
    except ValueError as error:
        return finding(server, path, Kind.MALFORMED, f"a line that {error}", line, about)


def _package(
    server: str, path: str, need: Need, head: Answer, tail: Answer | None, size: int | None
) -> Iterator[Finding]:
    about = need.about
    if head.error or head.status != 200:
        yield finding(server, path, Kind.ANSWER, _said(head), "200", about)
        return
    wrong = [*_headers(head), *_typed(head, "application/zip")]
    if head.headers.get("accept-ranges") != "bytes":
        wrong.append((f"Accept-Ranges {head.headers.get('accept-ranges', 'missing')}", "bytes, or no phone resumes"))
    if (_max_age(head) or 0) < YEAR_S or "immutable" not in _cached(head):
        wrong.append((f"Cache-Control {_cached(head) or 'missing'}", "max-age of a year, immutable"))
    if not head.headers.get("etag"):
        wrong.append(("no ETag", "one"))
    length = head.length
    if length is None:
        wrong.append(("no Content-Length", "the package's size"))
    elif tail and (
        tail.error or tail.status != 206 or not re.fullmatch(rf"bytes \d+-\d+/{length}", _range(tail)) or not tail.body
    ):
        answered = " ".join(filter(None, (_said(tail), _range(tail))))
        wrong.append((f"{answered} to a range", f"206 with a part of {length} bytes"))
        tail = None
    yield from _answers(server, path, wrong, about)
    if length is None:
        return
    if size is not None and length > size:
        yield finding(server, path, Kind.DIFFERING, f"{length:,} bytes", f"{size:,}", about)
    elif size is not None and length < size:
        yield finding(server, path, Kind.TRUNCATED, f"{length:,} bytes", f"{size:,}", about)
    elif tail and not ends(tail.body, length):
        found = f"{length:,} bytes that do not end as a zip does"
        yield finding(server, path, Kind.TRUNCATED, found, "a whole zip", about)


def _beside(
    server: str, path: str, answer: Answer, sums: Mapping[str, str], about: tuple[str, str]
) -> Iterator[Finding]:
    if answer.status == 404:
        yield finding(server, path, Kind.MISSING, "404", "a checksum beside each package", about)
    elif answer.error or answer.status != 200:
        yield finding(server, path, Kind.ANSWER, _said(answer), "200", about)
    else:
        yield from _answers(server, path, [*_headers(answer), *_typed(answer, "text/plain")], about)
        yield from sum_findings(server, path, answer.body, sums, about)


def sum_findings(
    server: str, path: str, content: bytes, sums: Mapping[str, str], about: tuple[str, str]
) -> Iterator[Finding]:
    """Of the checksum beside a package."""
    name = path.rpartition("/")[2].removesuffix(SHA256SUM)
    try:
        found, whose = named_checksum(content.decode(errors="replace"))
    except ValueError as error:
        yield finding(server, path, Kind.MALFORMED, f"what {error}", "HASH  NAME", about)
        return
    if name in sums and found != sums[name]:
        yield finding(server, path, Kind.DIFFERING, found, f"{sums[name]}, as on record", about)
    elif whose not in ("", name):
        yield finding(server, path, Kind.DIFFERING, f"the checksum of {whose}", f"that of {name}", about)


def _wanted(need: Need) -> str:
    return f"the package that {need.about[1]} promises" if need.is_promised else "it: its checksum is on record"


def _answers(server: str, path: str, wrong: list[tuple[str, str]], about: tuple[str, str]) -> Iterator[Finding]:
    """All that is wrong with one answer, in one line."""
    if wrong:
        found, expected = ("; ".join(parts) for parts in zip(*wrong, strict=True))
        yield finding(server, path, Kind.ANSWER, found, expected, about)


def _headers(answer: Answer) -> Iterator[tuple[str, str]]:
    for name in FORBIDDEN:
        if name in answer.headers:
            yield f"{name} {answer.headers[name]}", "none"


def _typed(answer: Answer, media_type: str) -> Iterator[tuple[str, str]]:
    if answer.media_type != media_type:
        yield f"type {answer.media_type or 'missing'}", media_type


def _cached(answer: Answer) -> str:
    return answer.headers.get("cache-control", "")


def _max_age(answer: Answer) -> int | None:
    match = re.search(r"\bmax-age=([0-9]{1,10})\b", _cached(answer))
    return int(match[1]) if match else None


def _range(answer: Answer) -> str:
    return answer.headers.get("content-range", "")


def _said(answer: Answer) -> str:
    where = answer.headers.get("location")
    return answer.error or (f"status {answer.status} to {where}" if where else f"status {answer.status}")
