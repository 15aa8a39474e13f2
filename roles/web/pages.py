"""Whether browsers and phones get from a restored web server what they got before."""

import html
import json
import re
from posixpath import basename, dirname
from urllib.parse import unquote, urlsplit

from backup.drills.checks import CheckFailed, Evidence, NotJudged, Restored
from backup.drills.on_host import some, sums
from backup.drills.serving import body, in_turn, media_type, turns, url
from backup.sizes import counted
from roles.web.archive import ERROR_PAGE, MANIFEST, MESSAGE, PUBLIC, Site, digest
from roles.web.links import links

READ_A_DRILL = 200
"""Pages whose links are followed in a drill, other ones each time."""
LOCATION = re.compile(rb"<loc>\s*([^<\s]+)\s*</loc>")


def pages(copy: Restored) -> Evidence:
    """Every page has the bytes that lie on the host; so have the addresses of the site's own map."""
    site = Site.of(copy)
    asked = [path for path in site.pages if not site.redirects(site.address(path))]
    lies = sums(copy, asked)
    wrong = []
    for path in asked:
        answer = copy.client.get(url(site.address(path)))
        if answer.status != 200 or media_type(answer) != "text/html":
            wrong.append(f"{path}: {site.address(path)} answers {answer.status} as {media_type(answer) or 'nothing'}")
        elif digest(body(answer)) != lies.get(path):
            wrong.append(f"{path}: is served with another content than lies on the host")
    mapped = _mapped(copy, site)
    wrong += [f"sitemap.xml: {path} answers {status}" for path, status in mapped.items() if status != 200]
    if not asked:
        wrong.append("the snapshot has no page")
    if wrong:
        raise CheckFailed(*wrong)
    told = (
        f"{counted(len(asked), 'page')} as on the host, {counted(len(mapped), 'address', 'addresses')} of sitemap.xml"
    )
    return Evidence((told,), len(asked), len(asked))


def _mapped(copy: Restored, site: Site) -> dict[str, int]:
    """What the addresses in sitemap.xml answer, but for those that redirect."""
    if site.path("sitemap.xml") not in site.files:
        return {}
    found = LOCATION.findall(body(copy.client.get("/sitemap.xml")))
    paths = {urlsplit(html.unescape(one.decode(errors="replace"))).path or "/" for one in found}
    return {path: copy.client.get(path).status for path in sorted(paths) if not site.redirects(unquote(path))}


def published(copy: Restored) -> Evidence:
    """Every file of the release that is served is what its publisher sent: by the manifest that was made there."""
    site = Site.of(copy)
    manifest = f"{site.top.removesuffix(f'{PUBLIC}/')}{MANIFEST}"
    if not any(file.path == manifest for file in copy.wanted):
        raise NotJudged("what was served is no release with a manifest")
    [found] = copy.read(manifest)
    sent = {site.path(file["path"]): file["sha256"] for file in json.loads(found)["files"]}
    lies = sums(copy, sorted(sent))
    wrong = [f"{path}: is not what was published" for path in sorted(sent) if lies.get(path) != sent[path]]
    wrong += [f"{path}: was not published" for path in sorted(site.files - sent.keys())]
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence((f"{counted(len(sent), 'file')}, as the manifest of {manifest.split('/')[1]} has them",))


def redirects(copy: Restored) -> Evidence:
    """Every old address leads to its new one, and that is there."""
    wrong = []
    places = copy.settings.places()
    for old, new in places.items():
        answer = copy.client.get(url(old))
        if (answer.status, answer.headers.get("location")) != (301, new):
            wrong.append(f"{old}: answers {answer.status} {answer.headers.get('location', '')}, not 301 {new}")
    for new in sorted(set(places.values())):
        if new.startswith("/") and (status := copy.client.get(new.partition("#")[0]).status) != 200:
            wrong.append(f"{new}: redirects lead there, and it answers {status}")
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence((counted(len(places), "redirect"),), len(places), len(places))


def message(copy: Restored) -> Evidence:
    """The message that phones fetch is the one that was saved: by the host and by the snapshot itself."""
    site = Site.of(copy)
    lies = site.path(MESSAGE)
    if lies not in site.files:
        raise NotJudged(f"the snapshot has no {lies}")
    answer = copy.client.get(url(MESSAGE))
    if answer.status != 200 or media_type(answer) != "text/plain" or "content-encoding" in answer.headers:
        raise CheckFailed(f"{lies}: answers {answer.status} as {media_type(answer) or 'nothing'}, not as plain text")
    if digest(answer.body) != sums(copy, [lies]).get(lies):
        raise CheckFailed(f"{lies}: is served with another content than lies on the host")
    if copy.read(lies) != [answer.body]:
        raise CheckFailed(f"{lies}: is not what the snapshot has")
    return Evidence((f"{len(answer.body)} bytes, as the snapshot has them",))


def assets(copy: Restored) -> Evidence:
    """What pages link to on this site is there. A link that the snapshot itself has nothing for is told apart."""
    site = Site.of(copy)
    chosen = in_turn(site.pages, copy.turn, READ_A_DRILL)
    if not chosen:
        raise NotJudged("the snapshot has no page")
    linked: dict[str, str] = {}
    for path in chosen:
        page = body(copy.client.get(url(site.address(path)))).decode(errors="replace")
        for link in links(page, site.address(path)):
            linked.setdefault(link, path)
    wrong: list[str] = []
    dead: list[str] = []
    for link, path in linked.items():
        status = copy.client.get(link).status
        if status == 200 or (status == 301 and (site.redirects(unquote(link)) or site.has(f"{unquote(link)}/"))):
            continue
        (wrong if site.has(unquote(link)) else dead).append(f"{link} (from {path}, answers {status})")
    if wrong:
        raise CheckFailed(*wrong)
    told = [f"{counted(len(linked), 'address', 'addresses')} that {counted(len(chosen), 'page')} link to"]
    if dead:
        told.append(f"{counted(len(dead), 'link')} to what the snapshot has not either: {some(dead)}")
    return Evidence(tuple(told), len(chosen), len(site.pages), turns(site.pages, READ_A_DRILL))


def not_found(copy: Restored) -> Evidence:
    """What is missing gets the site's own page, with that status."""
    site = Site.of(copy)
    own = site.path(ERROR_PAGE)
    lies = sums(copy, [own]).get(own) if own in site.files else None
    wrong = []
    for path in ("/no/such/page", "/404.html"):
        answer = copy.client.get(path)
        if answer.status != 404:
            wrong.append(f"{path}: answers {answer.status}, not 404")
        elif lies and digest(body(answer)) != lies:
            wrong.append(f"{path}: is not answered by the site's own {basename(own)}")
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence(("the site's own page, with 404" if lies else "404; the snapshot has no page of its own for it",))


def dots(copy: Restored) -> Evidence:
    """Folders and files with a leading dot are not there for anybody, but for the two that are public."""
    site = Site.of(copy)
    hidden = sorted(site.hidden)
    asked = {path for path in hidden if basename(path).startswith(".")} | set(hidden[:20]) | {site.path(".git/HEAD")}
    found = [(path, copy.client.get(url(path.removeprefix(site.top))).status) for path in sorted(asked)]
    wrong = [f"{path}: answers {status}, not 404" for path, status in found if status != 404]
    if wrong:
        raise CheckFailed(*wrong)
    folders = {dirname(path) for path in hidden}
    return Evidence((f"{counted(len(found), 'hidden path')} of {counted(len(folders), 'folder')} answer 404",))
