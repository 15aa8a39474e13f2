"""What pages and styles of a website link to on the same site. Pure."""

import re
from collections.abc import Collection, Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from backup.drills.serving import url

LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}
OF_STYLES = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^'")\s]+))\s*\)""")
OWN = "site.invalid"


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = LINKS.get(tag)
        self.found += [value for key, value in attrs if key == wanted and value]


def links(page: str, address: str, names: Collection[str] = ()) -> Iterator[str]:
    """Paths on this site that a page links to, as they are asked for. names: the site's own, besides none at all."""
    parser = _Links()
    parser.feed(page)
    return _own(parser.found, address, names)


def of_styles(text: str, address: str, names: Collection[str] = ()) -> Iterator[str]:
    """The same of a style sheet: fonts and images."""
    return _own(["".join(found) for found in OF_STYLES.findall(text)], address, names)


def _own(found: list[str], address: str, names: Collection[str]) -> Iterator[str]:
    for link in found:
        try:
            to = urlsplit(urljoin(f"http://{OWN}{url(address)}", link.strip()))
        except ValueError:
            continue  # no address at all: nothing that could be asked for
        if (to.scheme, to.netloc) == ("http", OWN) or (to.scheme in ("http", "https") and to.netloc in names):
            yield url(unquote(to.path, errors="surrogateescape") or "/")
