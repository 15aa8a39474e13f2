"""What a website holds, read from the list of its files, and where each page is found: as Jekyll lays it out."""

import hashlib
import re
from collections.abc import Iterable, Mapping

from backup.drills.checks import Restored

PUBLIC = "public"
"""What is served, on a server: a link to it, or a folder."""
MANIFEST = "manifest.json"
"""Of a release, beside its `public`: every file with its SHA-256, as it was sent."""
MESSAGE = ".messages/latest.txt"
HIDDEN = re.compile(r"/\.(?!(?:well-known|messages)/)")
ERROR_PAGE = "404.html"
COMPRESSED = ("html", "css", "js", "mjs", "json", "webmanifest", "xml", "svg")
"""What publishing puts FILE.gz beside. Never text/plain: phones want the length of their message."""


def digest(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def made_of(path: str) -> str:
    """The path of what a compressed file was made of; nothing for any other."""
    return path.removesuffix(".gz") if path.endswith(".gz") else ""


class Site:
    """A site by the paths of its files, all of which begin with `top`, which is empty or ends with a slash."""

    def __init__(self, paths: Iterable[str], places: Mapping[str, str], top: str = "") -> None:
        self.top = top
        self.files = set(paths)
        self.hidden = {path for path in self.files if HIDDEN.search(f"/{path}")}
        """Not for anybody."""
        own = self.path(ERROR_PAGE)
        self.pages = sorted(path for path in self.files - self.hidden if path.endswith(".html") and path != own)
        self._places = places

    @classmethod
    def of(cls, copy: Restored) -> "Site":
        """The site that a snapshot lists, as far as the restored server serves it. Raises CheckFailed."""
        script = 'realpath -m --relative-to="$(realpath "$1")" "$1/$2"'
        top = f"{copy.sh(script, copy.root, PUBLIC).strip()}/"
        files = (file.path for file in copy.wanted if file.type == "file" and file.path.startswith(top))
        return cls(files, copy.settings.places(), top)

    def path(self, name: str) -> str:
        """Of a file, as it is listed."""
        return f"{self.top}{name}"

    def address(self, path: str) -> str:
        """Where a page is found: `/about` for about.html, `/docs/` for docs/index.html. Not encoded."""
        short = f"/{path.removeprefix(self.top)}"
        return short.removesuffix("index.html") if short.endswith("/index.html") else short.removesuffix(".html")

    def redirects(self, address: str) -> bool:
        """Whether the settings lead from there to another place."""
        return address.lower() in self._places

    def has(self, address: str) -> bool:
        """Whether there is something at an address (not encoded) for a visitor."""
        path = self.path(address.removeprefix("/"))
        there = {path, f"{path}.html", f"{path.rstrip('/')}/index.html" if path else "index.html"} & self.files
        return self.redirects(address) or bool(there - self.hidden - {self.path(ERROR_PAGE)})
