"""How it is proved that a restored website works, and the faults that prove the proof."""

from collections.abc import Callable

from backup.drills import common_checks, damage
from backup.drills.checks import Check, Drill, Fault, Restored
from backup.drills.serving import CERTIFICATE, QUIET, another_site, anothers_certificate
from roles.web.archive import MESSAGE, Site
from roles.web.pages import assets, dots, message, not_found, pages, published, redirects

CHECKS = (
    common_checks.FILES,
    common_checks.owned_by("web"),
    common_checks.STALE,
    CERTIFICATE,
    Check(
        "pages",
        "every page is found at its address, with its content",
        "the pages that the snapshot lists, and their bytes on the host",
        pages,
        limit_s=1800,
    ),
    Check(
        "published",
        "every file that is served is what was published",
        "the manifest that the publisher made, in the snapshot itself",
        published,
        limit_s=1800,
    ),
    Check("redirects", "every old address leads to its new one", "the redirects of the settings", redirects),
    Check("message", "phones get the message that was saved", "the message in the snapshot itself", message),
    Check("assets", "what pages link to is there", "the links in the pages, and what the snapshot lists", assets, 1800),
    Check("not_found", "what is missing is answered by the site's own page", "404.html on the host", not_found),
    Check("dots", "nobody gets what begins with a dot", "the hidden files that the snapshot lists", dots),
)


def _at(
    path: Callable[[Site], list[str]], plant: Callable[[Restored, str], str], what: str
) -> Callable[[Restored], str]:
    """A fault at the first of some paths."""

    def planted(copy: Restored) -> str:
        chosen = set(path(Site.of(copy))[:1])
        return plant(copy, damage.first([file for file in copy.wanted if file.path in chosen], what).path)

    return planted


def _folders(site: Site) -> list[str]:
    """Of pages, but for the site itself."""
    return sorted({page.rpartition("/")[0] for page in site.pages} - {site.top.rstrip("/")})


def _assets(site: Site) -> list[str]:
    return sorted(path for path in site.files - site.hidden if path.endswith((".css", ".js", ".svg", ".png")))


FAULTS = (
    Fault("missing file", "files", _at(_assets, damage.remove, "a style, script or image")),
    Fault("flipped byte", "message", _at(lambda site: [site.path(MESSAGE)], damage.flip, MESSAGE)),
    Fault("flipped byte of a page", "published", _at(lambda site: site.pages, damage.flip, "a page")),
    Fault("stale snapshot", "stale", lambda copy: damage.set_back(copy, Site.of(copy).top.split("/")[0])),
    Fault("wrong owner", "owners", _at(lambda site: site.pages, damage.give_away, "a page")),
    Fault("empty directory", "files", _at(_folders, damage.empty, "a folder of pages")),
    Fault("another site", "pages", another_site),
    Fault("wrong certificate", "certificate", anothers_certificate),
)
DRILL = Drill(CHECKS, FAULTS, budget_s={"restore": 900, "checks": 900}, quiet=QUIET | {"maintenance": False})
