"""Asks servers, many at once: which refs repositories have, and whether what a manifest names is there for anybody."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import requests
from requests.adapters import HTTPAdapter

from roles.gerrit.tools.sources import names, refs
from roles.gerrit.tools.sources.findings import Kind
from roles.gerrit.tools.sources.git import COMMIT_ONLY, GitError, Place

AT_ONCE = 16
SILENT = 16
"""Repositories that get no answer before no more of their host are asked."""
HEAD, HEADS, TAGS = "HEAD", "refs/heads/", "refs/tags/"
T = TypeVar("T")
R = TypeVar("R")
Tell = Callable[[int, int], None]
"""Told how many of how many are done."""


@contextmanager
def anonymous(authority: Path | None = None, at_once: int = AT_ONCE) -> Iterator[requests.Session]:
    """A session that takes no proxy, no .netrc and no cookie from this machine; threads may share it."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(authority) if authority else True
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_connections=at_once, pool_maxsize=at_once))
        yield session


def nothing() -> None:
    """What there is to end where nothing goes on by itself."""


def on_all(
    things: Sequence[T], do: Callable[[T], R], tell: Tell, at_once: int = AT_ONCE, end: Callable[[], None] = nothing
) -> list[R]:
    """Results in the order of things. end: ends what is under way, when this is interrupted or one of them fails."""
    with ThreadPoolExecutor(at_once) as pool:
        coming = [pool.submit(do, one) for one in things]
        found = []
        try:
            for number, one in enumerate(coming, 1):
                found.append(one.result())
                tell(number, len(things))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end()
            raise
        return found


def ref(revision: str) -> str:
    """What a manifest's revision is on a server: `repo` takes a name without refs/ for a branch."""
    return revision if revision.startswith("refs/") else HEADS + revision


def prefixes(revisions: Sequence[str]) -> list[str]:
    """Of refs to ask for. Of a name also a tag, to tell who wrote it without refs/tags/; of an id all branches. And
    HEAD, to tell whether anything is to be seen."""
    found = set()
    for one in revisions:
        if names.is_sha(one):
            found |= {HEADS, TAGS}
        else:
            found |= {ref(one), TAGS + one} if not one.startswith("refs/") else {one}
    return sorted(found | {HEAD})


def ask(
    session: requests.Session, wanted: Mapping[str, Sequence[str]], tell: Tell, at_once: int = AT_ONCE
) -> dict[str, refs.Refs]:
    """Refs by repository. wanted: revisions by address. A host that never answers is given up."""
    silent: Counter[str] = Counter()
    heard: set[str] = set()

    def one(url: str) -> refs.Refs:
        host = url.split("/")[2]
        if silent[host] >= SILENT and host not in heard:
            return refs.Refs(failure=Kind.UNREACHABLE, said=f"{host} did not answer {SILENT} others")
        found = refs.ask(session, url, prefixes(wanted[url]))
        if found.failure is Kind.UNREACHABLE:
            silent[host] += 1
        else:
            heard.add(host)
        return found

    urls = [*wanted]
    return dict(zip(urls, on_all(urls, one, tell, at_once), strict=True))


def commit(known: refs.Refs, revision: str) -> str | None:
    """The commit that a revision names; None where it is not there. An id is taken for what it is."""
    return revision if names.is_sha(revision) else known.commit(ref(revision))


def is_tip(known: refs.Refs, sha: str) -> bool:
    """Whether a ref points to it."""
    return sha in known.objects.values() or sha in known.peeled.values()


def hindrance(url: str, sha: str, place: Place) -> GitError | None:
    """Why anybody cannot fetch a commit, asked as a client would; None where it can be fetched."""
    with place.scratch() as into:
        try:
            into.fetch(url, sha, COMMIT_ONLY)
        except GitError as error:
            return error
    return None


def has(url: str, sha: str, place: Place) -> bool:
    """Raises GitError when the server does not say."""
    error = hindrance(url, sha, place)
    if error and error.kind is not Kind.REVISION:
        raise error
    return error is None
