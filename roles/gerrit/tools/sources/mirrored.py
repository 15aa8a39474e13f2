"""A repository and its mirror: whether both have the same, and which of them lacks what."""

from roles.gerrit.tools.sources import ask, names
from roles.gerrit.tools.sources.findings import Kind
from roles.gerrit.tools.sources.git import GitError, Place
from roles.gerrit.tools.sources.manifest import Project
from roles.gerrit.tools.sources.refs import Refs

Told = tuple[Kind, str, str]
"""A kind, what was found, what was expected."""


def same(server: Refs, mirror: Refs, revision: str) -> bool:
    """Whether refs alone show that the mirror has the same object at a revision; of an id, that it is a tip there."""
    if mirror.failure or server.failure:
        return False
    if names.is_sha(revision):
        return ask.is_tip(mirror, revision)
    kept = mirror.objects.get(ask.ref(revision))
    return kept is not None and kept == server.objects.get(ask.ref(revision))


def judged(one: Project, url: str, server: Refs, mirror: Refs, place: Place) -> Told | None:
    """What is wrong with a mirror whose refs do not show the same; None where it is right after all.

    Behind: the mirror lacks the server's object, and the server has the mirror's. Ahead: the other way round. Differs:
    each lacks the other's, or has both and points elsewhere.
    """
    wanted = one.revision if names.is_sha(one.revision) else server.objects.get(ask.ref(one.revision))
    if server.failure or wanted is None:
        return server.failure or Kind.REVISION, server.said or "gone from the server meanwhile", one.revision
    expected = f"{wanted}, as on {one.url}"
    if mirror.failure is Kind.MISSING:
        return Kind.MIRROR_MISSING, mirror.said, expected
    if mirror.failure:
        return mirror.failure, mirror.said, expected
    try:
        on_mirror = ask.has(url, wanted, place)
        if names.is_sha(one.revision):
            return None if on_mirror else (Kind.MIRROR_BEHIND, "no such commit", expected)
        kept = mirror.objects.get(ask.ref(one.revision))
        if kept is None:
            return Kind.MIRROR_BEHIND, f"no {ask.ref(one.revision)}", expected
        on_server = ask.has(one.url, kept, place)
    except GitError as error:
        return error.kind, error.said, expected
    kind = Kind.MIRROR_DIFFERS
    if on_server != on_mirror:
        kind = Kind.MIRROR_BEHIND if on_server else Kind.MIRROR_AHEAD
    return kind, kept, expected
