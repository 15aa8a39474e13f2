"""What keeps a build from being offered: of all that an audit found what the change touches. Pure."""

from collections.abc import Iterator

from roles.release.archive import SHA256SUM
from roles.release.tools.audit.audit import Verdict
from roles.release.tools.audit.findings import Finding, Kind
from roles.release.tools.audit.truth import METADATA
from roles.release.tools.layout import named
from roles.release.tools.problems import Damaged
from roles.release.tools.publication import Publication

CONTENT = frozenset((Kind.DIFFERING, Kind.MALFORMED, Kind.MISSING))
"""Of metadata on a server: it is exchanged as a whole by whatever commit the server does not serve yet."""


def hindrances(verdict: Verdict, what: Publication) -> list[Finding]:
    """What is wrong with servers as such, with the packages that will be offered, and with their devices' metadata.

    No package of another build: what phones are taken away from may be as bad as it is.
    """
    return [*_hindrances(verdict, what)]


def _hindrances(verdict: Verdict, what: Publication) -> Iterator[Finding]:
    coming = {(one.device, one.offer.build) for one in what.offers}
    devices = {device for device, _ in coming}
    behind = {one.name for one in verdict.servers if one.commit and one.commit != verdict.truth.commit}
    for one in verdict.wrong:
        build = _build(one.path)
        if one.device and one.device not in devices:
            continue
        if build:
            if (one.device, build) in coming:
                yield one
        elif one.kind in CONTENT and one.server in behind:
            continue  # it has missed a commit, and this one brings it up to date
        elif not (one.server == METADATA and what.sets_back):
            yield one


def _build(path: str) -> str:
    """Of a package, or of the checksum beside it; else empty."""
    try:
        return named(path.removesuffix(SHA256SUM)).build
    except Damaged:
        return ""
