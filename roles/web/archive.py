"""What a website holds, read from the list of its files, and where each page is found: as Jekyll lays it out."""

import hashlib
import re

from backup.drills.checks import Restored

PUBLIC = "public"
MESSAGE = "public/.messages/latest.txt"
HIDDEN = re.compile(r"/\.(?!(?:well-known|messages)/)")
ERROR_PAGE = "public/404.html"


def digest(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class Site:
    """The site that a snapshot lists."""

    def __init__(self, copy: Restored) -> None:
        below = [file for file in copy.wanted if file.path.startswith(f"{PUBLIC}/")]
        self.files = {file.path for file in below if file.type == "file"}
        self.hidden = {path for path in self.files if HIDDEN.search(path)}
        """Not for anybody."""
        self.pages = sorted(path for path in self.files - self.hidden if path.endswith(".html") and path != ERROR_PAGE)
        self._places: dict[str, str] = copy.settings.places()

    def address(self, path: str) -> str:
        """Where a page is found: `/about` for about.html, `/docs/` for docs/index.html. Not encoded."""
        short = path.removeprefix(PUBLIC)
        return short.removesuffix("index.html") if short.endswith("/index.html") else short.removesuffix(".html")

    def redirects(self, address: str) -> bool:
        """Whether the settings lead from there to another place."""
        return address.lower() in self._places

    def has(self, address: str) -> bool:
        """Whether there is something at an address (not encoded) for a visitor."""
        path = f"{PUBLIC}{address}"
        there = {path, f"{path}.html", f"{path.rstrip('/')}/index.html"} & self.files
        return self.redirects(address) or bool(there - self.hidden - {ERROR_PAGE})
