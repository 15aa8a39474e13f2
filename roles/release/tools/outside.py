"""Whether phones find on a release server what was published there."""

from collections.abc import Iterator

from backup.drills.checks import CheckFailed, Client
from backup.drills.serving import media_type, url
from roles.release.archive import BASE
from roles.release.tools.publication import Publication


def look(client: Client, what: Publication) -> list[str]:
    """What of a publication is not as phones should find it: each line and changelog, and each package's length."""
    try:
        return [*_wrong(client, what)]
    except CheckFailed as error:
        return [str(error)]


def _wrong(client: Client, what: Publication) -> Iterator[str]:
    for path, text in what.metadata.items():
        answer = client.get(url(path))
        expected = "text/html" if path.endswith(".html") else "text/plain"
        if (answer.status, answer.body, media_type(answer)) != (200, text.encode(), expected):
            told = f"{answer.status}, {media_type(answer)}, {answer.body[:80]!r}"
            yield f"{path}: {told}; expected 200, {expected}, {text[:80]!r}"
    sizes: dict[str, int | None] = {one.promises: None for one in what.offers if one.channel != BASE}
    sizes |= {one.path: one.size for one in what.packages}
    for path, size in sizes.items():
        answer = client.head(url(path))
        length = answer.headers.get("content-length")
        if answer.status != 200 or (size is not None and length != str(size)):
            yield f"{path}: {answer.status}, {length} bytes; expected 200, {'some' if size is None else size}"
