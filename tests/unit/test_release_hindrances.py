"""Which findings of an audit keep a build from being offered, and which do not."""

import pytest

from lab.release_archive import CURRENT, OLD, STAMPS
from roles.release.archive import Offer
from roles.release.tools.audit.audit import ServerState, Verdict
from roles.release.tools.audit.findings import Kind, finding
from roles.release.tools.audit.hindrances import hindrances
from roles.release.tools.audit.truth import CHECKSUMS, METADATA, Truth
from roles.release.tools.offers import Offered
from roles.release.tools.publication import Publication

NEW = "c0ffee"
SERVERS = {"release-1": NEW, "release-2": "0ld"}
LINE = "ota/panther/panther-beta"


def change(build: str, *, sets_back: bool = False) -> Publication:
    """The build on the channel beta."""
    offers = (Offered("panther", "beta", Offer(build, STAMPS[build], "16")),)
    return Publication("beta", "", (), {}, {}, offers, sets_back)


def full(build: str, device: str = "panther") -> str:
    return f"ota/{device}/16/{device}-ota_update-{build}.zip"


@pytest.mark.parametrize(
    ("server", "device", "path", "kind", "promoted", "set_back"),
    [
        ("release-1", "panther", full(CURRENT), Kind.TRUNCATED, True, False),
        ("release-1", "panther", full(OLD), Kind.TRUNCATED, False, True),
        ("release-1", "panther", f"{full(CURRENT)}.sha256sum", Kind.MISSING, True, False),
        ("release-1", "panther", f"ota/panther/16/panther-incremental-{OLD}-{CURRENT}.zip", Kind.MISSING, True, False),
        ("release-1", "shiba", full(CURRENT, "shiba"), Kind.TRUNCATED, False, False),
        ("release-1", "panther", full(CURRENT), Kind.UNLISTED, False, False),
        ("release-1", "panther", LINE, Kind.DIFFERING, True, True),
        ("release-2", "panther", LINE, Kind.DIFFERING, False, False),
        ("release-2", "panther", LINE, Kind.ANSWER, True, True),
        ("release-2", "panther", full(OLD), Kind.DISAGREE, False, True),
        ("release-2", "", "", Kind.UNREACHABLE, True, True),
        (METADATA, "panther", LINE, Kind.MALFORMED, True, False),
        (CHECKSUMS, "panther", f"{full(OLD)}.sha256sum", Kind.MALFORMED, False, True),
    ],
)
def test_what_is_wrong_hinders_the_build_that_is_offered_and_no_other(
    server: str, device: str, path: str, kind: Kind, promoted: bool, set_back: bool
) -> None:
    """CURRENT is promoted, or phones go from it back to OLD; release-2 has missed a commit."""
    states = tuple(ServerState(name, True, commit, None, 0, None) for name, commit in SERVERS.items())
    found = (finding(server, path, kind, "it", "another", (device, "")),)
    verdict = Verdict(Truth(NEW, {}, {}), states, found, 0, 0)
    assert bool(hindrances(verdict, change(CURRENT))) == promoted
    assert bool(hindrances(verdict, change(OLD, sets_back=True))) == set_back
