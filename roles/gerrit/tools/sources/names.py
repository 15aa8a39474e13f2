"""What may stand in a manifest as a path, a revision, a group or an address. Pure.

Each function says what is wrong, or nothing. Paths as `repo` takes them (its docs/manifest-format.md), and stricter:
no name is taken for an option, none changes the address it becomes part of.
"""

import re
from urllib.parse import urljoin, urlsplit

LONGEST = 1024
_UNSEEN = re.compile(r"[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Characters that some file systems drop, so that another name comes out."""
_IN_NO_NAME = re.compile(r'[\s~?#%\\:*"<>|]')
_IN_NO_REVISION = re.compile(r"[\s~^:?*\[\\]")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LIKE_SCP = re.compile(r"[^/:]+@[^/:]+:[^/]+")
SCHEMES = ("https", "http", "ssh", "git", "sso", "persistent-https", "rpc", "file")


def _text(text: str) -> str:
    if not text:
        return "is empty"
    if len(text) > LONGEST:
        return f"has {len(text):,} characters, more than {LONGEST:,}"
    if not text.isprintable() or _UNSEEN.search(text):
        return "has characters that nobody sees"
    return "begins with -, as an option does" if text.startswith("-") else ""


def local_path(path: str, *, may_be_top: bool = False) -> str:
    """Of a project's name or path, or of a file: inside of the folder that it is relative to."""
    if why := _text(path):
        return why
    if found := _IN_NO_NAME.search(path):
        return f"has {found[0]!r}"
    if path.startswith("/"):
        return "is absolute"
    if path == "." and may_be_top:
        return ""
    for part in path.rstrip("/").lower().split("/"):
        if part in ("", ".", "..", ".git") or part.startswith((".repo", "-")):
            return f"has the part {part!r}"
    return ""


def revision(text: str) -> str:
    """Of a branch, a tag or a commit."""
    if why := _text(text):
        return why
    if found := _IN_NO_REVISION.search(text):
        return f"has {found[0]!r}"
    bad = (text.startswith("/"), text.endswith(("/", ".", ".lock")), "//" in text, ".." in text, "@{" in text)
    return "is no name of a branch, a tag or a commit" if any(bad) else ""


def is_sha(text: str) -> bool:
    """Whether it names a commit by its id, SHA-1 or SHA-256."""
    return bool(_SHA.fullmatch(text))


def address(url: str) -> str:
    """Of an absolute one."""
    if why := _text(url):
        return why
    if re.search(r"\s", url):
        return "has a blank"
    try:
        parts = urlsplit(url)
        host, password, name = parts.hostname, parts.password, parts.username
        _ = parts.port
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in SCHEMES:
        return f"has the scheme {parts.scheme!r}; known are {', '.join(SCHEMES)}"
    if password or (name and parts.scheme in ("http", "https")):
        return "holds a name or a password"
    if parts.query or parts.fragment:
        return "has ? or #"
    return "" if host or parts.scheme == "file" else "names no host"


def resolved(fetch: str, manifest: str) -> str:
    """A remote's `fetch`, which may be relative to the address of the manifest's own repository.

    `..` of https://host/platform/manifest is https://host. Raises ValueError when there is no such address.
    """
    fetch, base = _plain(fetch), _plain(manifest)
    if "://" in fetch:
        return fetch
    scheme, _, rest = base.partition("://")
    # urljoin only knows how to join what it takes for the web.
    return scheme + urljoin(f"http://{rest}", fetch).removeprefix("http").rstrip("/")


def _plain(url: str) -> str:
    url = url.rstrip("/")
    return "ssh://" + url.replace(":", "/", 1) if "://" not in url and _LIKE_SCP.match(url) else url
